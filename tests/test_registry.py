"""Tests for registry.py."""

import pytest

from robopref.errors import MissingExtraError, UnknownNameError
from robopref.registry import Registry, import_extra


@pytest.fixture
def table():
    table = Registry("reward", "robopref.none")
    table.register("mlp", "robopref.trainer:TrainerConfig", "A summary.")
    return table


def test_config_class_is_imported_when_asked_for(table):
    assert table.config_class("mlp").__name__ == "TrainerConfig"
    assert table.summary("mlp") == "A summary."
    assert table.name_of(table.config_class("mlp")) == "mlp"


def test_unknown_name_suggests_the_nearest(table):
    with pytest.raises(UnknownNameError) as error:
        table.config_class("mpl")
    assert str(error.value) == "No reward named 'mpl'. Did you mean 'mlp'? Registered: ['mlp']."


def test_a_name_is_registered_once(table):
    with pytest.raises(ValueError) as error:
        table.register("mlp", "other:Thing")
    assert str(error.value) == "A reward named 'mlp' is registered already."


def test_missing_extra_says_how_to_install_it():
    with pytest.raises(MissingExtraError) as error:
        import_extra("not_there.inner", purpose="The Franka driver", extra="franka")
    assert str(error.value) == (
        "The Franka driver needs not_there. Install it with: pip install 'robopref[franka]'."
    )


def test_an_import_error_inside_the_extra_is_not_mistaken_for_its_absence(tmp_path, monkeypatch):
    (tmp_path / "broken_extra.py").write_text("import this_is_missing\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError) as error:
        import_extra("broken_extra", purpose="A test", extra="dev")
    assert error.value.name == "this_is_missing"
