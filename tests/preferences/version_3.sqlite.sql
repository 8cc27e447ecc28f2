-- A store as robopref made it when its tables had version 3, dumped by sqlite3.
BEGIN TRANSACTION;
CREATE TABLE adjudications (
	seq INTEGER NOT NULL, 
	id VARCHAR NOT NULL, 
	query_id VARCHAR NOT NULL, 
	criterion VARCHAR NOT NULL, 
	answer VARCHAR NOT NULL, 
	"order" JSON NOT NULL, 
	annotator VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	time_s DOUBLE NOT NULL, 
	PRIMARY KEY (seq), 
	CONSTRAINT one_adjudication_each UNIQUE (query_id, criterion), 
	UNIQUE (id), 
	FOREIGN KEY(query_id) REFERENCES queries (id)
);
INSERT INTO "adjudications" VALUES(1,'d1','pair','overall','ranked','[[1], [0]]','cleo','it reaches',1750000000.0);
CREATE TABLE label_annotators (
	name VARCHAR NOT NULL, 
	criterion VARCHAR NOT NULL, 
	num_answers INTEGER NOT NULL, 
	seen_s DOUBLE NOT NULL, 
	PRIMARY KEY (name, criterion)
);
INSERT INTO "label_annotators" VALUES('anna','overall',3,1750000000.0);
CREATE TABLE label_history (
	seq INTEGER NOT NULL, 
	time_s DOUBLE NOT NULL, 
	criterion VARCHAR NOT NULL, 
	num_labels INTEGER NOT NULL, 
	figures JSON NOT NULL, 
	PRIMARY KEY (seq)
);
INSERT INTO "label_history" VALUES(1,1750000000.0,'overall',3,'{"accuracy": 0.75}');
CREATE TABLE label_leases (
	id VARCHAR NOT NULL, 
	queue_seq INTEGER NOT NULL, 
	annotator VARCHAR NOT NULL, 
	shown JSON NOT NULL, 
	expires_s DOUBLE NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(queue_seq) REFERENCES label_queue (seq), 
	UNIQUE (annotator)
);
INSERT INTO "label_leases" VALUES('l1',3,'anna','[1, 0]',1750000000.0);
CREATE TABLE label_queue (
	seq INTEGER NOT NULL, 
	query_id VARCHAR NOT NULL, 
	criterion VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	role VARCHAR NOT NULL, 
	annotator VARCHAR NOT NULL, 
	priority DOUBLE NOT NULL, 
	why VARCHAR NOT NULL, 
	overlap INTEGER NOT NULL, 
	num_answers INTEGER NOT NULL, 
	is_open BOOLEAN NOT NULL, 
	blocked VARCHAR NOT NULL, 
	expected JSON, 
	PRIMARY KEY (seq), 
	CONSTRAINT queued_once UNIQUE (query_id, criterion)
);
INSERT INTO "label_queue" VALUES(1,'pair','overall','pair','gold','',0.5,'',2,2,0,'','{"answer": "ranked", "order": [[1], [0]]}');
INSERT INTO "label_queue" VALUES(2,'many','overall','ranking','ask','',0.5,'',2,1,1,'',NULL);
INSERT INTO "label_queue" VALUES(3,'candidates','overall','candidates','ask','',0.5,'',2,0,1,'',NULL);
INSERT INTO "label_queue" VALUES(4,'clip','overall','rating','ask','',0.5,'',2,2,0,'',NULL);
INSERT INTO "label_queue" VALUES(5,'other clip','overall','rating','ask','',0.5,'',2,0,1,'',NULL);
CREATE TABLE label_sessions (
	key_hash VARCHAR NOT NULL, 
	annotator VARCHAR NOT NULL, 
	expires_s DOUBLE NOT NULL, 
	PRIMARY KEY (key_hash)
);
INSERT INTO "label_sessions" VALUES('0123abcd','anna',1750000000.0);
CREATE TABLE preferences (
	seq INTEGER NOT NULL, 
	id VARCHAR NOT NULL, 
	query_id VARCHAR NOT NULL, 
	answer VARCHAR NOT NULL, 
	"order" JSON NOT NULL, 
	annotator VARCHAR NOT NULL, 
	criterion VARCHAR NOT NULL, 
	strength INTEGER NOT NULL, 
	reason VARCHAR NOT NULL, 
	time_s DOUBLE NOT NULL, 
	response_time_s DOUBLE NOT NULL, 
	undone BOOLEAN NOT NULL, 
	confidence DOUBLE DEFAULT (1.0) NOT NULL, 
	details JSON DEFAULT '{}' NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (id), 
	FOREIGN KEY(query_id) REFERENCES queries (id)
);
INSERT INTO "preferences" VALUES(1,'a1','pair','ranked','[[0], [1]]','anna','overall',2,'',1750000000.0,0.0,1,1.0,'{}');
INSERT INTO "preferences" VALUES(2,'a2','pair','ranked','[[1], [0]]','anna','overall',3,'it''s faster',1750000002.5,2.5,0,0.75,'{"shown": [1, 0], "tags": ["fast"]}');
INSERT INTO "preferences" VALUES(3,'a3','many','ranked','[[2], [0, 3]]','anna','overall',2,'',0.0,0.0,0,1.0,'{}');
INSERT INTO "preferences" VALUES(4,'a4','candidates','skipped','[]','ben','overall',2,'',0.0,0.0,0,1.0,'{}');
INSERT INTO "preferences" VALUES(5,'a5','pair','ranked','[[0], [1]]','ben','overall',3,'it''s faster',1750000002.5,2.5,0,0.75,'{"shown": [1, 0], "tags": ["fast"]}');
CREATE TABLE queries (
	seq INTEGER NOT NULL, 
	id VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	num_items INTEGER NOT NULL, 
	items JSON NOT NULL, 
	strategy VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	context JSON NOT NULL, 
	created_s DOUBLE NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (id)
);
INSERT INTO "queries" VALUES(1,'pair','segments',2,'[{"episode_id": "episode-a", "start": 3, "length": 5, "hash": "hash of episode-a 3 5"}, {"episode_id": "episode-b", "start": 3, "length": 5, "hash": "hash of episode-b 3 5"}]','uniform','why ü','{"data": "runs/x"}',1750000000.0);
INSERT INTO "queries" VALUES(2,'many','segments',4,'[{"episode_id": "episode-a", "start": 0, "length": 5, "hash": "hash of episode-a 0 5"}, {"episode_id": "episode-b", "start": 0, "length": 5, "hash": "hash of episode-b 0 5"}, {"episode_id": "episode-c", "start": 0, "length": 5, "hash": "hash of episode-c 0 5"}, {"episode_id": "episode-d", "start": 0, "length": 5, "hash": "hash of episode-d 0 5"}]','coverage','','{"data": "runs/x"}',1750000000.0);
INSERT INTO "queries" VALUES(3,'candidates','candidates',2,'[{"episode_id": "episode-a", "step": 4, "action": [[0.1, -1e-17]], "hash": "13368fb8a4579ea91c672f10878c1ef23d0d54bead69e4ffe1eff276d118ac44"}, {"episode_id": "episode-a", "step": 4, "action": [[1.0, 2.0]], "hash": "e739bb932ad2c6ad64879283d912be3ad8b5b3ee211df5ba87f1b280934017f1"}]','by hand','','{"data": "runs/x"}',1750000000.0);
CREATE TABLE rating_queries (
	seq INTEGER NOT NULL, 
	id VARCHAR NOT NULL, 
	item JSON NOT NULL, 
	strategy VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	context JSON NOT NULL, 
	created_s DOUBLE NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (id)
);
INSERT INTO "rating_queries" VALUES(1,'clip','{"episode_id": "episode-a", "start": 2, "length": 5, "hash": "hash of episode-a 2 5"}','by hand','','{"data": "runs/x"}',1750000000.0);
INSERT INTO "rating_queries" VALUES(2,'other clip','{"episode_id": "episode-b", "start": 2, "length": 5, "hash": "hash of episode-b 2 5"}','by hand','','{"data": "runs/x"}',1750000000.0);
CREATE TABLE ratings (
	seq INTEGER NOT NULL, 
	id VARCHAR NOT NULL, 
	query_id VARCHAR NOT NULL, 
	rating VARCHAR NOT NULL, 
	mark_step INTEGER, 
	annotator VARCHAR NOT NULL, 
	criterion VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	time_s DOUBLE NOT NULL, 
	response_time_s DOUBLE NOT NULL, 
	undone BOOLEAN NOT NULL, 
	details JSON NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (id), 
	FOREIGN KEY(query_id) REFERENCES rating_queries (id)
);
INSERT INTO "ratings" VALUES(1,'r1','clip','good',NULL,'anna','overall','',1750000000.0,1.5,0,'{}');
INSERT INTO "ratings" VALUES(2,'r2','clip','bad',3,'ben','overall','',1750000000.0,1.5,0,'{"tags": ["slow"]}');
INSERT INTO "ratings" VALUES(3,'r3','other clip','good',NULL,'anna','overall','',1750000000.0,1.5,1,'{}');
CREATE TABLE robopref_meta (
	"key" VARCHAR NOT NULL, 
	value VARCHAR NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "robopref_meta" VALUES('version','3');
CREATE INDEX open_queue ON label_queue (criterion, role, annotator, priority DESC, seq) WHERE is_open = 1;
CREATE INDEX answers_of ON preferences (annotator, seq);
CREATE UNIQUE INDEX one_answer_each ON preferences (query_id, annotator, criterion) WHERE undone = 0;
CREATE UNIQUE INDEX one_rating_each ON ratings (query_id, annotator, criterion) WHERE undone = 0;
CREATE INDEX ratings_of ON ratings (annotator, seq);
CREATE INDEX ix_label_leases_queue_seq ON label_leases (queue_seq);
CREATE INDEX ix_label_leases_expires_s ON label_leases (expires_s);
COMMIT;
