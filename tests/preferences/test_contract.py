"""What holds for every registered teacher and query strategy."""

import dataclasses

import numpy as np
import pytest

from robopref.config import from_dict, to_dict
from robopref.preferences import STRATEGIES, TEACHERS, Preference, Ranking
from robopref.preferences.strategies import QueryStrategy
from robopref.preferences.teachers import Teacher
from robopref.preferences.terminal import Person

COMPONENTS = [(table, name) for table in (TEACHERS, STRATEGIES) for name in table.names()]


@pytest.mark.parametrize(("table", "name"), COMPONENTS)
def test_a_config_is_a_frozen_dataclass_that_survives_a_file(table, name):
    config_class = table.config_class(name)
    config = config_class()
    assert from_dict(config_class, to_dict(config)) == config
    assert table.name_of(config_class) == name
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.annotator = "other"


@pytest.mark.parametrize(("table", "name"), COMPONENTS)
def test_the_list_says_what_it_is(table, name):
    assert table.summary(name).endswith(".")
    assert table.config_class(name).__doc__


@pytest.mark.parametrize("name", TEACHERS.names())
def test_every_teacher_is_built_and_answers_in_the_same_way(name, make_query):
    teacher = TEACHERS.config_class(name)().build(
        lambda item: np.arange(item.length, dtype=float),
        spread=1.0,
        rng=np.random.default_rng(0),
        centre=0.0,
        person=Person(
            lambda query: None,
            lambda prompt: "=",
            lambda query: Preference("a", query, Ranking.tie(), annotator="anna"),
        ),
    )
    query = make_query(num_items=2)
    preference = teacher.answer(query)
    assert isinstance(teacher, Teacher)
    assert preference.query == query
    assert preference.ranking in (Ranking.tie(), Ranking.skipped())


@pytest.mark.parametrize("name", STRATEGIES.names())
def test_every_strategy_is_built_without_arguments(name):
    strategy = STRATEGIES.config_class(name)().build()
    assert isinstance(strategy, QueryStrategy)
    assert strategy.name == name
