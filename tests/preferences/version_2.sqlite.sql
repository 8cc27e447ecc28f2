-- A store as robopref made it when its tables had version 2, dumped by sqlite3.
BEGIN TRANSACTION;
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
CREATE TABLE robopref_meta (
	"key" VARCHAR NOT NULL,
	value VARCHAR NOT NULL,
	PRIMARY KEY ("key")
);
INSERT INTO "robopref_meta" VALUES('version','2');
CREATE UNIQUE INDEX one_answer_each ON preferences (query_id, annotator, criterion) WHERE undone = 0;
COMMIT;
