"""`robopref transfer` from data sets and answers to a reward trained on what was carried over."""

import shlex
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from robopref import cli
from robopref.align.run import load_figures
from robopref.commands.transfer import TransferCommand
from robopref.config import load_yaml
from robopref.data.store import EpisodeStore
from robopref.preferences.names import TRANSFERRED
from robopref.preferences.store import PreferenceStore
from robopref.transfer import report
from tests.transfer.pushing import DRAWER, answer, true_return


@pytest.fixture(autouse=True)
def _one_clip(monkeypatch):
    monkeypatch.setattr(report, "NUM_CLIPS", 1)


def command(source, target, *more):
    data, db = source
    return ["transfer", "--source", str(data), "--source-db", str(db), "--target", str(target),
            "--num-segments", "40", "--num-pairs", "200", *map(str, more)]  # fmt: skip


def refused(words, capsys):
    assert cli.main(words) == 2
    return capsys.readouterr().err.removeprefix("Error: ").strip()


def test_what_is_carried_over_trains_a_reward(door, drawer, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(command(door, drawer, "--out", out)) == 0
    shown = capsys.readouterr().out
    assert "recorded rewards" in shown
    assert "It can be trusted: it foretells" in shown
    db = out / "preferences.sqlite"
    assert shown.endswith(f"Next:   robopref train reward --data {drawer} --db {db}\n")
    assert shown.index("agreement") < shown.index(str(db)), "what is known comes first"

    figures = load_figures(out / "figures.json", dict)
    assert figures["measured"][0]["accuracy"] > 0.85
    assert figures["verdict"]["level"] == "trust"
    assert load_yaml(TransferCommand, out / "config.yaml").target == drawer

    episodes = EpisodeStore.open(drawer)
    with PreferenceStore(db, create=False) as store:
        answers = store.preferences()
        assert store.verify(episodes.content_hash) == []
    assert len(answers) == 200
    assert {a.annotator for a in answers} == {TRANSFERRED}
    assert len({a.confidence for a in answers}) > 100, "labels are soft"
    right = [
        (prefers_b > 0.5) == (true_return(episodes, b) > true_return(episodes, a))
        for each in answers
        for a, b, prefers_b in each.segment_pairs()
    ]
    assert np.mean(right) > 0.85

    words = ["train", "reward", "--data", str(drawer), "--db", str(db), "--out",
             str(tmp_path / "reward"), "--reward.fit.trainer.num-steps", "60"]  # fmt: skip
    assert cli.main(words) == 0
    shown = capsys.readouterr().out
    measured, whose = shown.partition("Held-out accuracy ")[2].splitlines()[:2]
    assert float(measured[:4]) > 0.7
    num = measured.partition(", of ")[2].removesuffix(" pairs.")
    assert whose == (
        f"A transfer labelled {num} of them: that is agreement with its labels, not with a person."
    )


@pytest.fixture
def filmed(make_data):
    """A target whose clips can be shown."""
    return make_data("filmed", DRAWER, seed=1, camera=True)


@pytest.mark.slow
def test_queries_are_asked_and_their_answers_used(door, filmed, tmp_path, capsys):
    drawer = filmed
    asked = tmp_path / "asked.sqlite"
    first = command(door, drawer, "--target-db", asked, "--num-queries", 6, "--out")
    assert cli.main([*first, str(tmp_path / "first")]) == 0
    assert f"Next:   robopref answer --data {drawer} --db {asked}\n" in capsys.readouterr().out
    episodes = EpisodeStore.open(drawer)
    with PreferenceStore(asked, create=False) as store:
        queries = store.pending("anna")
        assert len(queries) == 6
        for query in queries:
            store.answer(answer(episodes, query, f"answer {query.id}"))

    second = command(door, drawer, "--target-db", asked, "--num-queries", 3, "--out")
    assert cli.main([*second, str(tmp_path / "second")]) == 0
    assert "beside 6 that people gave" in capsys.readouterr().out
    with PreferenceStore(asked) as store:
        assert len(store.pending("anna")) == 3, "no pair is asked twice"
        again = {frozenset(q.items) for q in store.queries()}
        assert len(again) == 9
    with PreferenceStore(tmp_path / "second" / "preferences.sqlite") as store:
        own = store.preferences(annotator="anna")
        assert [a.query for a in own] == queries
        assert len(store.preferences(annotator=TRANSFERRED)) == 200


def test_nothing_is_asked_that_cannot_be_shown(door, drawer, make_answers, tmp_path, capsys):
    asked, out = tmp_path / "asked.sqlite", tmp_path / "out"
    words = command(door, drawer, "--target-db", asked, "--num-queries", 6, "--out", out)
    assert refused(words, capsys) == (
        f"Nothing of '{drawer}' can be shown, so nobody can be asked about it: it has neither "
        "simulator states nor pictures of a camera. Train on the answers that it came with "
        "(robopref train reward), or record episodes of your own (robopref collect). Without "
        "--num-queries, answers are carried over to it all the same."
    )
    assert not any(tmp_path.iterdir())
    # Nor does a transfer end in asking where it is not trusted.
    opposite = make_answers(drawer, num=12, sign=-1)
    assert cli.main(command(door, drawer, "--target-db", opposite, "--out", out)) == 0
    shown = capsys.readouterr().out
    assert "Do not trust it" in shown
    assert shown.splitlines()[-2:] == [
        f"Note: nothing of {drawer} can be shown, so nobody can be asked about it.",
        f"Next:   robopref train reward --data {drawer} --db {out / 'preferences.sqlite'}",
    ]


def test_answers_that_contradict_the_source_are_heard(door, filmed, make_answers, tmp_path, capsys):
    drawer, opposite = filmed, make_answers(filmed, num=12, sign=-1)
    words = command(door, drawer, "--target-db", opposite, "--out", tmp_path / "out")
    assert cli.main(words) == 0
    shown = capsys.readouterr().out
    assert "without them" in shown
    assert "Do not trust it: as carried over, the target's features mean the opposite" in shown
    assert f"only 0% of the answers about '{drawer}' follow its rewards" in shown
    out = f"{tmp_path / 'out'}-asking"
    assert shown.splitlines()[-1] == "Next:   robopref " + shlex.join(
        [*words[:7], "--target-db", str(opposite), "--num-queries", "10", "--out", out]
    )


@pytest.mark.slow
def test_several_sources_and_an_alignment(door, drawer, make_data, make_answers, tmp_path, capsys):
    window = make_data("window", "metaworld/window-open-v3", seed=2)
    words = ["transfer", "--source", str(door[0]), str(window), "--source-db", str(door[1]),
             str(make_answers(window)), "--target", str(drawer), "--method", "fused-cpa",
             "--num-segments", "24", "--out", str(tmp_path / "out")]  # fmt: skip
    assert cli.main(words) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("fused-cpa", "shared-features", "nearest"))
    assert "transport plan" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(("method", "actions"), [("cpa", 7), ("nearest", 4)])
def test_observations_of_unknown_meaning(
    make_data, make_answers, tmp_path, capsys, method, actions
):
    """An alignment needs distances within a task alone, the nearest the same observations."""
    source = make_data("source", "none/one")
    target = make_data("target", "none/two", seed=1, action_size=actions)
    words = command((source, make_answers(source)), target, "--out", tmp_path / "out")
    assert refused(words, capsys) == (
        f"This method compares features, and '{source}' has none: what is hand, object and goal in "
        "its observations is not known. Take --method cpa, which compares segments of one task "
        "alone, or --method nearest where both tasks have the same observations; or say it with a "
        "method `read_scene` of the environment's config (docs/environments.md)."
    )
    words += ["--method", method, *(["--method.num-starts", "2"] if method == "cpa" else [])]
    assert cli.main(words) == 0
    assert "shared-features" not in capsys.readouterr().out
    with PreferenceStore(tmp_path / "out" / "preferences.sqlite") as store:
        assert len(store.preferences(annotator=TRANSFERRED)) == 200
    figures = load_figures(tmp_path / "out" / "figures.json", dict)["diagnosis"]
    assert np.isnan([figures["meaning"], figures["source"]]).all()
    assert "Nothing can be drawn: " in (tmp_path / "out" / "report.html").read_text()


def test_a_folder_that_is_there_is_left_alone(door, drawer, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious").touch()
    assert refused(command(door, drawer, "--out", out), capsys) == (
        f"'{out}' is there already, and nothing in it is written over. Choose another folder with "
        "--out, or delete it."
    )
    assert [p.name for p in out.iterdir()] == ["precious"]


def too_few(door, drawer, make_data, make_answers):
    data = make_data("few")
    return (
        (data, make_answers(data, num=1)),
        drawer,
        (),
        (
            f"'{data}' has 2 segments; a transfer needs at least 4. Answer about more of "
            "them, record more episodes, or cut shorter ones."
        ),
    )


def all_tied(door, drawer, make_data, make_answers):
    data = make_data("tied")
    return (
        (data, make_answers(data, sign=0)),
        drawer,
        (),
        (
            f"No answer about '{data}' prefers one segment to another: there is nothing to "
            "carry over."
        ),
    )


def constant(door, drawer, make_data, make_answers):
    data = make_data("constant", constant=True)
    return door, data, (), f"All segments of '{data}' are the same; nothing tells them apart."


def other_actions(door, drawer, make_data, make_answers):
    data = make_data("other", DRAWER, action_size=7)
    return (
        door,
        data,
        ("--method", "nearest"),
        (
            f"Segments of '{door[0]}' and '{data}' have steps of shapes (10, 43) and (10, 46) "
            "(length, observation and action). A method that compares steps needs the same; take "
            "one that compares features."
        ),
    )


def other_lengths(door, drawer, make_data, make_answers):
    return (
        door,
        drawer,
        ("--method", "nearest", "--segment-length", "12"),
        (
            f"Segments of '{door[0]}' and '{drawer}' have steps of shapes (10, 43) and (12, 43) "
            "(length, observation and action). A method that compares steps needs the same; take "
            "one that compares features."
        ),
    )


def too_long(door, drawer, make_data, make_answers):
    return (
        door,
        drawer,
        ("--segment-length", "50"),
        (
            "No episode has 50 steps: the longest of 16 has 20. Ask for shorter segments "
            "(--segment-length)."
        ),
    )


def too_sure(door, drawer, make_data, make_answers):
    return (
        door,
        drawer,
        ("--least-confidence", "1"),
        (
            "No pair was transferred with a confidence of 1: the tasks say too little about each "
            "other. Answer a few queries about the target."
        ),
    )


def no_answers(door, drawer, make_data, make_answers):
    return (
        door,
        drawer,
        ("--criterion", "speed"),
        (
            f"No answer by 'speed' in '{door[1]}' orders two segments of '{door[0]}': there is "
            "nothing to carry over."
        ),
    )


def others_answers(door, drawer, make_data, make_answers):
    data = make_data("others", seed=5)
    db, ids = make_answers(data), EpisodeStore.open(data).ids
    return (
        (door[0], db),
        drawer,
        (),
        (
            f"The answers in '{db}' are about another data set: '{door[0]}' has none of their "
            f"{len(ids)} episodes, such as '{min(ids)}'. Give the data set from which the queries "
            "were chosen, or a store with answers about this one."
        ),
    )


def not_probable(door, drawer, make_data, make_answers):
    more = ("--method", "cpa", "--method.no-normalised", "--method.num-starts", "1")
    return door, drawer, more, None


def missing_store(door, drawer, make_data, make_answers):
    missing = f"{drawer}-missing.sqlite"
    return (
        door,
        drawer,
        ("--target-db", missing),
        (
            f"No preference store at '{missing}'. Make one with: robopref query --data DIR --db "
            f"{missing}."
        ),
    )


@pytest.mark.parametrize(
    "case",
    [
        too_few, all_tied, constant, other_actions, other_lengths, too_long, too_sure, no_answers,
        others_answers, not_probable, missing_store,
    ],
)  # fmt: skip
def test_what_cannot_be_carried_over_is_refused_and_leaves_nothing(
    case, door, drawer, make_data, make_answers, tmp_path, capsys
):
    source, target, more, message = case(door, drawer, make_data, make_answers)
    before = sorted(tmp_path.iterdir())
    found = refused(command(source, target, *more, "--out", tmp_path / "out"), capsys)
    if message is None:
        assert found.startswith("What 'cpa' returned are no probabilities: ")
    else:
        assert found == message
    assert sorted(tmp_path.iterdir()) == before


def test_episodes_that_changed_since_are_refused(make_data, make_answers, drawer, tmp_path, capsys):
    data = make_data("changed", num=4)
    door = data, make_answers(data)
    path = sorted(door[0].glob("data/*/*.parquet"))[0]
    table = pq.read_table(path)
    place = table.schema.get_field_index("action")
    field = table.schema.field(place)
    broken = pa.array([[float("nan")] * 4] * len(table), field.type)
    pq.write_table(table.set_column(place, field, broken), path)
    found = refused(command(door, drawer, "--out", tmp_path / "out"), capsys)
    assert str(door[0]) in found
    assert not (tmp_path / "out").exists()


def test_a_run_that_fails_while_writing_leaves_nothing(door, filmed, tmp_path, capsys, monkeypatch):
    def fail(path, outcome, following):
        path.write_text("half a report")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "write_report", fail)
    before = sorted(tmp_path.iterdir())
    asked = tmp_path / "asked.sqlite"
    words = command(door, filmed, "--target-db", asked, "--num-queries", 2, "--out")
    assert "The disk is full." in refused([*words, str(tmp_path / "out")], capsys)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ("--num-queries", "5"),
            "--num-queries (=5) needs a store for the queries. Give one with --target-db; it is "
            "made if missing.",
        ),
        (
            ("--source-db", "a.sqlite", "b.sqlite"),
            "--source and --source-db must be as many, at least one, got 1 and 2.",
        ),
        (("--num-segments", "3"), "--num-segments must be between 4 and 2000, got 3."),
        (
            ("--least-confidence", "0.2"),
            "--least-confidence must be between 0.5 and 1, got 0.2.",
        ),
        (
            (),
            "'{}' is a source and the target: answers about a data set need no transfer to it. "
            "Train on them.",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(more, message, tmp_path, capsys):
    words = command((tmp_path, tmp_path / "a.sqlite"), tmp_path, *more)
    assert refused(words, capsys) == message.format(tmp_path)
    shutil.rmtree(tmp_path)
