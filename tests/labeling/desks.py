"""Servers of a labelling project without the web around them, for tests."""

import uuid

import numpy as np

from robopref.data.segment import Segment
from robopref.labeling.answers import Answers
from robopref.labeling.assignment import Assignment
from robopref.labeling.config import LabelConfig
from robopref.labeling.queue import LabelQueue
from robopref.preferences import Preference, Query, Ranking, tables
from robopref.preferences.rating import RatingQuery, rating_query_row
from robopref.preferences.store import PreferenceStore

QUIET = LabelConfig(gold_every=0, repeat_every=0, lease_s=60)


def make_queries(num, num_items=2):
    return [
        Query(
            f"q{n}", tuple(Segment(f"e{n}-{i}", 0, 5) for i in range(num_items)), "uniform", "why"
        )
        for n in range(num)
    ]


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Server:
    """One of several programs that use a database."""

    def __init__(self, location, config=QUIET, clock=None, seed=0):
        self.store = PreferenceStore(location)
        database = self.store.database
        self.queue = LabelQueue(database, config)
        self.assignment = Assignment(
            database, config, clock=clock or Clock(), rng=np.random.default_rng(seed)
        )
        self.answers = Answers(database, self.assignment)

    def add(self, queries):
        self.store.add_queries(queries, cut_hash=lambda segment: segment.episode_id)
        self.queue.fill()

    def add_rating(self, name="r0"):
        query = RatingQuery(name, Segment("e0-0", 0, 5), "uniform", "why")
        row = rating_query_row(query, "hash", context={}, created_s=0.0)
        with self.store.database.writing() as connection:
            connection.execute(tables.rating_queries.insert(), row)
        self.queue.fill()
        return query

    def answer(self, assigned, annotator, ranking=None, name=None, **fields):
        preference = Preference(
            name or str(uuid.uuid4()), assigned.query,
            ranking or Ranking.prefer(0, len(assigned.query.items)),
            annotator=annotator, criterion=assigned.entry.criterion, **fields,
        )  # fmt: skip
        return self.answers.answer(preference).new
