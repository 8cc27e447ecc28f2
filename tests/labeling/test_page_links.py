"""Links from one page to another."""

import pytest

from tests.labeling.clip_data import record_policies_of_an_arm
from tests.labeling.page_project import serve_project


@pytest.mark.slow
def test_label_and_compare_lead_to_each_other(tmp_path, pages):
    record_policies_of_an_arm(tmp_path / "policies")
    with serve_project(tmp_path, data=tmp_path / "policies") as project:
        page = pages.open(project, path="/compare", ready=False)
        page.get_by_role("button", name="Ask").first.click()
        page.get_by_role("link", name="To Label").click()
        page.wait_for_selector("[data-state=ready]")
        assert page.url == project.address + "/"
        page.get_by_role("link", name="All comparisons of policies").click()
        page.get_by_role("heading", name="Policies, compared blindly").wait_for()
        assert page.url == project.address + "/compare"
