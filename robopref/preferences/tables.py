"""Tables of the preference store: questions, answers, and the desk of the labelling tool."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()
meta = sa.Table(
    "robopref_meta",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("value", sa.String, nullable=False),
)
queries = sa.Table(
    "queries",
    metadata,
    sa.Column("seq", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("id", sa.String, nullable=False, unique=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("num_items", sa.Integer, nullable=False),
    sa.Column("items", sa.JSON, nullable=False),
    sa.Column("strategy", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("context", sa.JSON, nullable=False),
    sa.Column("created_s", sa.Double, nullable=False),
)
preferences = sa.Table(
    "preferences",
    metadata,
    sa.Column("seq", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("id", sa.String, nullable=False, unique=True),
    sa.Column("query_id", sa.ForeignKey("queries.id"), nullable=False),
    sa.Column("answer", sa.String, nullable=False),
    sa.Column("order", sa.JSON, nullable=False),
    sa.Column("annotator", sa.String, nullable=False),
    sa.Column("criterion", sa.String, nullable=False),
    sa.Column("strength", sa.Integer, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("time_s", sa.Double, nullable=False),
    sa.Column("response_time_s", sa.Double, nullable=False),
    # An answer taken back keeps its row, so that a late retry of it does not bring it back.
    sa.Column("undone", sa.Boolean, nullable=False, default=False),
    # Since version 2.
    sa.Column("confidence", sa.Double, nullable=False, server_default=sa.text("1.0")),
    sa.Column("details", sa.JSON, nullable=False, server_default=sa.text("'{}'")),
)
sa.Index(
    "one_answer_each",
    preferences.c.query_id,
    preferences.c.annotator,
    preferences.c.criterion,
    unique=True,
    sqlite_where=~preferences.c.undone,
    postgresql_where=~preferences.c.undone,
)
sa.Index("answers_of", preferences.c.annotator, preferences.c.seq)

rating_queries = sa.Table(
    "rating_queries",
    metadata,
    sa.Column("seq", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("id", sa.String, nullable=False, unique=True),
    sa.Column("item", sa.JSON, nullable=False),
    sa.Column("strategy", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("context", sa.JSON, nullable=False),
    sa.Column("created_s", sa.Double, nullable=False),
)
ratings = sa.Table(
    "ratings",
    metadata,
    sa.Column("seq", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("id", sa.String, nullable=False, unique=True),
    sa.Column("query_id", sa.ForeignKey("rating_queries.id"), nullable=False),
    sa.Column("rating", sa.String, nullable=False),
    sa.Column("mark_step", sa.Integer),
    sa.Column("annotator", sa.String, nullable=False),
    sa.Column("criterion", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("time_s", sa.Double, nullable=False),
    sa.Column("response_time_s", sa.Double, nullable=False),
    sa.Column("undone", sa.Boolean, nullable=False, default=False),
    sa.Column("details", sa.JSON, nullable=False),
)
sa.Index(
    "one_rating_each",
    ratings.c.query_id,
    ratings.c.annotator,
    ratings.c.criterion,
    unique=True,
    sqlite_where=~ratings.c.undone,
    postgresql_where=~ratings.c.undone,
)
sa.Index("ratings_of", ratings.c.annotator, ratings.c.seq)
adjudications = sa.Table(
    "adjudications",
    metadata,
    sa.Column("seq", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("id", sa.String, nullable=False, unique=True),
    sa.Column("query_id", sa.ForeignKey("queries.id"), nullable=False),
    sa.Column("criterion", sa.String, nullable=False),
    sa.Column("answer", sa.String, nullable=False),
    sa.Column("order", sa.JSON, nullable=False),
    sa.Column("annotator", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("time_s", sa.Double, nullable=False),
    sa.UniqueConstraint("query_id", "criterion", name="one_adjudication_each"),
)
# Since version 4.
rating_adjudications = sa.Table(
    "rating_adjudications",
    metadata,
    sa.Column("seq", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("id", sa.String, nullable=False, unique=True),
    sa.Column("query_id", sa.ForeignKey("rating_queries.id"), nullable=False),
    sa.Column("criterion", sa.String, nullable=False),
    sa.Column("rating", sa.String, nullable=False),
    sa.Column("mark_step", sa.Integer),
    sa.Column("annotator", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("time_s", sa.Double, nullable=False),
    sa.UniqueConstraint("query_id", "criterion", name="one_rating_adjudication_each"),
)
label_queue = sa.Table(
    "label_queue",
    metadata,
    sa.Column("seq", sa.Integer, sa.Identity(), primary_key=True),
    # Of `queries`, or of `rating_queries`.
    sa.Column("query_id", sa.String, nullable=False),
    sa.Column("criterion", sa.String, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("role", sa.String, nullable=False),
    # For whom alone it is; empty for anybody.
    sa.Column("annotator", sa.String, nullable=False),
    sa.Column("priority", sa.Double, nullable=False),
    sa.Column("why", sa.String, nullable=False),
    sa.Column("overlap", sa.Integer, nullable=False),
    # Answers that stand; skips do not count. Kept up by whoever adds or undoes an answer.
    sa.Column("num_answers", sa.Integer, nullable=False),
    sa.Column("is_open", sa.Boolean, nullable=False),
    sa.Column("blocked", sa.String, nullable=False),
    sa.Column("expected", sa.JSON(none_as_null=True)),
    sa.UniqueConstraint("query_id", "criterion", name="queued_once"),
)
sa.Index(
    "open_queue",
    label_queue.c.criterion,
    label_queue.c.role,
    label_queue.c.annotator,
    label_queue.c.priority.desc(),
    label_queue.c.seq,
    sqlite_where=sa.text("is_open = 1"),  # as queries say it, or they would not use the index
    postgresql_where=label_queue.c.is_open,
)
label_leases = sa.Table(
    "label_leases",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("queue_seq", sa.ForeignKey("label_queue.seq"), nullable=False, index=True),
    sa.Column("annotator", sa.String, nullable=False, unique=True),
    sa.Column("shown", sa.JSON, nullable=False),
    sa.Column("expires_s", sa.Double, nullable=False, index=True),
)
label_annotators = sa.Table(
    "label_annotators",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("criterion", sa.String, primary_key=True),
    sa.Column("num_answers", sa.Integer, nullable=False),
    sa.Column("seen_s", sa.Double, nullable=False),
)
label_sessions = sa.Table(
    "label_sessions",
    metadata,
    # A hash of the cookie, so that who reads the database cannot sign in with it.
    sa.Column("key_hash", sa.String, primary_key=True),
    sa.Column("annotator", sa.String, nullable=False),
    sa.Column("expires_s", sa.Double, nullable=False),
)
label_history = sa.Table(
    "label_history",
    metadata,
    sa.Column("seq", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("time_s", sa.Double, nullable=False),
    sa.Column("criterion", sa.String, nullable=False),
    sa.Column("num_labels", sa.Integer, nullable=False),
    sa.Column("figures", sa.JSON, nullable=False),
)
