BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0007');
CREATE TABLE assets (
	deployment VARCHAR(100) NOT NULL, 
	uri VARCHAR(1500) NOT NULL, 
	name TEXT NOT NULL, 
	"group" TEXT, 
	updates INTEGER NOT NULL, 
	updated_at DATETIME, 
	extra JSON, 
	source_dag_id TEXT, 
	source_run_id TEXT, 
	source_task_id TEXT, 
	last_seq BIGINT NOT NULL, 
	PRIMARY KEY (deployment, uri)
);
INSERT INTO "assets" VALUES('local','file:///models/model.pkl','model.pkl','asset',1,'2026-11-22 10:00:06.000000','{"accuracy": 0.98}','Airflow_Lab2','manual__1','build_model',1);
INSERT INTO "assets" VALUES('local','file:///model.pkl','model.pkl','asset',1,'2026-11-30 10:00:06.000000','{"accuracy": 0.97}','etl','manual__1','load',33);
CREATE TABLE dag_runs (
	deployment VARCHAR(100) NOT NULL, 
	dag_id VARCHAR(250) NOT NULL, 
	run_id VARCHAR(250) NOT NULL, 
	run_key VARCHAR(32) NOT NULL, 
	state VARCHAR(20) NOT NULL, 
	run_type VARCHAR(50), 
	logical_date DATETIME, 
	queued_at DATETIME, 
	start_date DATETIME, 
	end_date DATETIME, 
	message TEXT, 
	last_seq BIGINT NOT NULL, 
	PRIMARY KEY (deployment, dag_id, run_id)
);
INSERT INTO "dag_runs" VALUES('local','etl','manual__2026-11-22T10:00:00+00:00','ffa50b9e9505a8dec8cedcb4d5b3c409','success','manual','2026-11-22 10:00:00.000000','2026-11-22 10:00:00.100000','2026-11-22 10:00:01.000000','2026-11-22 10:00:07.500000','success',4);
INSERT INTO "dag_runs" VALUES('local','etl','manual__1','25bd15b38fd19110b3119f434779ef89','failed','manual',NULL,NULL,'2026-11-30 09:50:00.000000','2026-11-30 09:50:10.000000',NULL,24);
INSERT INTO "dag_runs" VALUES('local','load','manual__1','69e2b6c6061831e92a0956d89713872d','failed','manual',NULL,NULL,'2026-11-30 09:51:40.000000','2026-11-30 09:51:50.000000',NULL,25);
INSERT INTO "dag_runs" VALUES('local','report','manual__1','952b68ae2e225a32d9eed22e694b91ce','failed','manual',NULL,NULL,'2026-11-30 09:53:20.000000','2026-11-30 09:53:30.000000',NULL,26);
INSERT INTO "dag_runs" VALUES('local','noisy','manual__1','7a179bebe9f7a6bc99ca27a06d0b7e3a','failed','manual',NULL,NULL,'2026-11-30 09:55:00.000000','2026-11-30 09:55:10.000000',NULL,27);
INSERT INTO "dag_runs" VALUES('local','report','manual__2','30d449eb471a08d35489ff3cd98a490f','success','manual',NULL,NULL,'2026-11-30 09:58:20.000000','2026-11-30 09:58:30.000000',NULL,29);
INSERT INTO "dag_runs" VALUES('local','etl','manual__2','97124d0d8652790b69ee39a952cc0833','failed','manual',NULL,NULL,'2026-11-30 09:58:30.000000','2026-11-30 09:58:40.000000',NULL,30);
INSERT INTO "dag_runs" VALUES('local','etl','manual__3','61690d9f0a8898f897231c1a0e94d844','running','manual',NULL,NULL,'2026-11-30 09:59:00.000000',NULL,NULL,31);
INSERT INTO "dag_runs" VALUES('local','etl','manual__4','8c93341d5414d8785fdaaec1b4823bbc','failed','manual',NULL,NULL,'2026-11-30 10:00:20.000000','2026-11-30 10:00:30.000000',NULL,35);
INSERT INTO "dag_runs" VALUES('local','load','manual__4','ab4a18268f5819f71578888646bc723f','failed','manual',NULL,NULL,'2026-11-30 10:00:21.000000','2026-11-30 10:00:31.000000',NULL,36);
INSERT INTO "dag_runs" VALUES('local','load','manual__5','6678476cb719197b82ddda02808aa266','success','manual',NULL,NULL,'2026-11-30 10:00:40.000000','2026-11-30 10:00:50.000000',NULL,37);
CREATE TABLE dags (
	deployment VARCHAR(100) NOT NULL, 
	dag_id VARCHAR(250) NOT NULL, 
	is_paused BOOLEAN NOT NULL, 
	times_paused INTEGER NOT NULL, 
	times_unpaused INTEGER NOT NULL, 
	last_seq BIGINT, tags JSON, owners JSON, schedule TEXT, next_run_after DATETIME, is_stale BOOLEAN, seen_at DATETIME, 
	PRIMARY KEY (deployment, dag_id)
);
INSERT INTO "dags" VALUES('local','etl',0,0,0,NULL,'["tier-1"]','["ops"]',NULL,NULL,0,NULL);
INSERT INTO "dags" VALUES('local','load',0,0,0,NULL,'["tier-1"]','["ops"]',NULL,NULL,0,NULL);
INSERT INTO "dags" VALUES('local','report',0,0,0,NULL,'["tier-1"]','["ops"]',NULL,NULL,0,NULL);
INSERT INTO "dags" VALUES('local','noisy',0,0,0,NULL,'["tier-1"]','["ops"]',NULL,NULL,0,NULL);
INSERT INTO "dags" VALUES('local','nightly',0,0,0,NULL,'["tier-1"]','["ops"]',NULL,NULL,0,NULL);
INSERT INTO "dags" VALUES('local','a',0,0,0,NULL,'["tier-1"]','["ops"]',NULL,NULL,0,NULL);
INSERT INTO "dags" VALUES('local','b',0,0,0,NULL,'["tier-1"]','["ops"]',NULL,NULL,0,NULL);
INSERT INTO "dags" VALUES('local','c',0,0,0,NULL,'["tier-1"]','["ops"]',NULL,NULL,0,NULL);
CREATE TABLE decisions (
	id INTEGER NOT NULL, 
	event_seq BIGINT NOT NULL, 
	event_id VARCHAR(200) NOT NULL, 
	deployment VARCHAR(100) NOT NULL, 
	dag_id TEXT, 
	rule VARCHAR(200) NOT NULL, 
	outcome VARCHAR(20) NOT NULL, 
	reason TEXT NOT NULL, 
	incident_id BIGINT, 
	silence_id BIGINT, 
	notification_id BIGINT, 
	created_at DATETIME NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "decisions" VALUES(1,2,'run:ffa50b9e9505a8dec8cedcb4d5b3c409:failed','local','etl','production','suppressed','suppressed: it came to be known 192.0 h late; see WINDSOCK_TELL_WITHIN_HOURS',NULL,NULL,NULL,'2026-11-30 10:00:00.000000');
INSERT INTO "decisions" VALUES(2,12,'airflow_unreachable:e079cadcec2fd540b2efc8f83f520ab5:recovered','local',NULL,'watches','suppressed','suppressed: it came to be known 191.5 h late; see WINDSOCK_TELL_WITHIN_HOURS',NULL,NULL,NULL,'2026-11-30 10:00:00.000000');
INSERT INTO "decisions" VALUES(3,13,'airflow_unreachable:e079cadcec2fd540b2efc8f83f520ab5','local',NULL,'watches','suppressed','suppressed: it came to be known 191.5 h late; see WINDSOCK_TELL_WITHIN_HOURS',NULL,NULL,NULL,'2026-11-30 10:00:00.000000');
INSERT INTO "decisions" VALUES(4,14,'asset_stale:84b1:recovered','local','etl','watches','suppressed','suppressed: it came to be known 191.5 h late; see WINDSOCK_TELL_WITHIN_HOURS',NULL,NULL,NULL,'2026-11-30 10:00:00.000000');
INSERT INTO "decisions" VALUES(5,15,'asset_stale:008eaa30760194fc0dc4eac5df5e0e21','local','etl','watches','suppressed','suppressed: it came to be known 191.5 h late; see WINDSOCK_TELL_WITHIN_HOURS',NULL,NULL,NULL,'2026-11-30 10:00:00.000000');
INSERT INTO "decisions" VALUES(6,16,'asset_unconsumed:42:07b635e8e917ed16db3d119fd54e62e7','local','release','watches','suppressed','suppressed: it came to be known 191.5 h late; see WINDSOCK_TELL_WITHIN_HOURS',NULL,NULL,NULL,'2026-11-30 10:00:00.000000');
INSERT INTO "decisions" VALUES(7,17,'delivery:7:dead:1','local','etl','watches','suppressed','suppressed: it came to be known 191.5 h late; see WINDSOCK_TELL_WITHIN_HOURS',NULL,NULL,NULL,'2026-11-30 10:00:00.000000');
INSERT INTO "decisions" VALUES(8,18,'delivery:7:parked:3','local',NULL,'watches','suppressed','suppressed: it came to be known 191.5 h late; see WINDSOCK_TELL_WITHIN_HOURS',NULL,NULL,NULL,'2026-11-30 10:00:00.000000');
INSERT INTO "decisions" VALUES(9,19,'mail_failing:4134546da23484ac0c1a2c92ffe6ea98','local',NULL,'watches','suppressed','suppressed: it came to be known 191.5 h late; see WINDSOCK_TELL_WITHIN_HOURS',NULL,NULL,NULL,'2026-11-30 10:00:00.000000');
INSERT INTO "decisions" VALUES(10,20,'mail_failing:4134546da23484ac0c1a2c92ffe6ea98:recovered','local',NULL,'watches','suppressed','suppressed: it came to be known 191.5 h late; see WINDSOCK_TELL_WITHIN_HOURS',NULL,NULL,NULL,'2026-11-30 10:00:00.000000');
INSERT INTO "decisions" VALUES(11,21,'run_late:6163c27777a0cf5846898be276d5f62e','local','etl','watches','suppressed','suppressed: it came to be known 191.5 h late; see WINDSOCK_TELL_WITHIN_HOURS',NULL,NULL,NULL,'2026-11-30 10:00:00.000000');
INSERT INTO "decisions" VALUES(12,22,'run_missing:048a689daba278a307ca23576f52bbd8','local','etl','watches','suppressed','suppressed: it came to be known 191.5 h late; see WINDSOCK_TELL_WITHIN_HOURS',NULL,NULL,NULL,'2026-11-30 10:00:00.000000');
INSERT INTO "decisions" VALUES(13,23,'run_stuck:3afbd5e09a20f09edb9c923785194cd8','local','etl','watches','suppressed','suppressed: it came to be known 191.5 h late; see WINDSOCK_TELL_WITHIN_HOURS',NULL,NULL,NULL,'2026-11-30 10:00:00.000000');
INSERT INTO "decisions" VALUES(14,24,'run:25bd15b38fd19110b3119f434779ef89:failed','local','etl','production','told','rule ''production'': the first failure, opens incident 1',1,NULL,1,'2026-11-30 10:00:00.000000');
INSERT INTO "decisions" VALUES(15,25,'run:69e2b6c6061831e92a0956d89713872d:failed','local','load','production','told','rule ''production'': the first failure, opens incident 2',2,NULL,2,'2026-11-30 10:00:00.000000');
INSERT INTO "decisions" VALUES(16,25,'run:69e2b6c6061831e92a0956d89713872d:failed','local','load','load, each','told','rule ''load, each'' tells every failure; number 1 of incident 2',2,NULL,3,'2026-11-30 10:00:00.000000');
INSERT INTO "decisions" VALUES(17,26,'run:952b68ae2e225a32d9eed22e694b91ce:failed','local','report','production','told','rule ''production'': the first failure, opens incident 3',3,NULL,4,'2026-11-30 10:00:00.000000');
INSERT INTO "decisions" VALUES(18,27,'run:7a179bebe9f7a6bc99ca27a06d0b7e3a:failed','local','noisy','production','suppressed','suppressed by silence 1 of root until 2026-12-07 10:00 UTC: the source moves',4,1,NULL,'2026-11-30 10:00:00.000000');
INSERT INTO "decisions" VALUES(19,28,'delivery:4:dead:1','local','load','watches','told','rule ''watches'': windsock.delivery.dead',NULL,NULL,5,'2026-11-30 10:00:15.000000');
INSERT INTO "decisions" VALUES(20,29,'run:30d449eb471a08d35489ff3cd98a490f:success','local','report','production','told','rule ''production'': closes incident 3',3,NULL,6,'2026-11-30 10:00:15.000000');
INSERT INTO "decisions" VALUES(21,29,'run:30d449eb471a08d35489ff3cd98a490f:success','local','report','successes','suppressed','rule ''successes'' tells every success; told as recovered',3,NULL,NULL,'2026-11-30 10:00:15.000000');
INSERT INTO "decisions" VALUES(22,30,'run:97124d0d8652790b69ee39a952cc0833:failed','local','etl','production','told','rule ''production'': failure 2 of incident 1; due 2026-11-30 14:00:00 UTC',1,NULL,7,'2026-11-30 10:00:15.000000');
INSERT INTO "decisions" VALUES(23,34,'run_stuck:84e954a18c00fdd2ebf7f4ff2712361b','local','nightly','watches','told','rule ''watches'': the first failure, opens incident 5',5,NULL,8,'2026-11-30 10:02:10.000000');
INSERT INTO "decisions" VALUES(24,35,'run:8c93341d5414d8785fdaaec1b4823bbc:failed','local','etl','production','grouped','rule ''production'': failure 3 of incident 1; told with notification 7, due 2026-11-30 14:00:00 UTC',1,NULL,7,'2026-11-30 10:03:25.000000');
INSERT INTO "decisions" VALUES(25,36,'run:ab4a18268f5819f71578888646bc723f:failed','local','load','production','suppressed','suppressed: incident 2 is acknowledged by alice: looking into it',2,NULL,NULL,'2026-11-30 10:03:25.000000');
INSERT INTO "decisions" VALUES(26,36,'run:ab4a18268f5819f71578888646bc723f:failed','local','load','load, each','told','rule ''load, each'' tells every failure; number 2 of incident 2',2,NULL,9,'2026-11-30 10:03:25.000000');
INSERT INTO "decisions" VALUES(27,37,'run:6678476cb719197b82ddda02808aa266:success','local','load','production','told','rule ''production'': closes incident 2',2,NULL,10,'2026-11-30 10:03:25.000000');
CREATE TABLE deliveries (
	id INTEGER NOT NULL, 
	notification_id BIGINT NOT NULL, 
	channel VARCHAR(20) NOT NULL, 
	recipient VARCHAR(320) NOT NULL, 
	kind VARCHAR(20) NOT NULL, 
	incident_id BIGINT, 
	event_seq BIGINT NOT NULL, 
	event_id VARCHAR(200) NOT NULL, 
	deployment VARCHAR(100) NOT NULL, 
	dag_id TEXT, 
	run_id TEXT, 
	rule VARCHAR(200) NOT NULL, 
	template VARCHAR(100) NOT NULL, 
	recipients JSON NOT NULL, 
	remaining JSON, 
	state VARCHAR(20) NOT NULL, 
	reason TEXT NOT NULL, 
	subject TEXT, 
	message_id VARCHAR(250) NOT NULL, 
	attempts INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	next_attempt_at DATETIME NOT NULL, 
	claim VARCHAR(32), 
	lease_until DATETIME, 
	handed_at DATETIME, 
	settled_at DATETIME, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_deliveries_notification_id_channel_recipient UNIQUE (notification_id, channel, recipient)
);
INSERT INTO "deliveries" VALUES(1,1,'email','ops@example.com','opened',1,24,'run:25bd15b38fd19110b3119f434779ef89:failed','local','etl','manual__1','production','run_failed','["ops@example.com"]','[]','sent','sent','✗ etl failed (unconfirmed)','<windsock.local.24.1.3e4436d0b55ed151b4ac7847a61ba6c7@example.com>',1,'2026-11-30 10:00:00.000000','2026-11-30 10:00:00.000000',NULL,NULL,NULL,'2026-11-30 10:00:15.000000');
INSERT INTO "deliveries" VALUES(2,2,'email','ops@example.com','opened',2,25,'run:69e2b6c6061831e92a0956d89713872d:failed','local','load','manual__1','production','run_failed','["ops@example.com"]','[]','sent','sent','✗ load failed (unconfirmed)','<windsock.local.25.2.99101d73cdab47e9a7a8531278ba9717@example.com>',1,'2026-11-30 10:00:00.000000','2026-11-30 10:00:00.000000',NULL,NULL,NULL,'2026-11-30 10:00:15.000000');
INSERT INTO "deliveries" VALUES(3,3,'email','full@example.com','failure',2,25,'run:69e2b6c6061831e92a0956d89713872d:failed','local','load','manual__1','load, each','run_failed','["full@example.com"]','["full@example.com"]','pending','to be tried again: 127.0.0.1:56535: Error connecting to 127.0.0.1 on port 56535: [Errno 111] Connect call failed (''127.0.0.1'', 56535)','✗ load failed (unconfirmed)','<windsock.local.25.3.5f268b61a8d8c6b5488974d94cf6dd0d@example.com>',6,'2026-11-30 10:00:00.000000','2026-11-30 10:05:06.598038',NULL,NULL,NULL,NULL);
INSERT INTO "deliveries" VALUES(4,3,'email','gone@example.com','failure',2,25,'run:69e2b6c6061831e92a0956d89713872d:failed','local','load','manual__1','load, each','run_failed','["gone@example.com"]','["gone@example.com"]','dead','refused: gone@example.com: 550 5.1.1 no such user','✗ load failed (unconfirmed)','<windsock.local.25.3.3939fefec6a1893d39fd86904ef1a2e2@example.com>',1,'2026-11-30 10:00:00.000000','2026-11-30 10:00:00.000000',NULL,NULL,NULL,'2026-11-30 10:00:15.000000');
INSERT INTO "deliveries" VALUES(5,4,'email','ops@example.com','opened',3,26,'run:952b68ae2e225a32d9eed22e694b91ce:failed','local','report','manual__1','production','run_failed','["ops@example.com"]','[]','sent','sent','✗ report failed (unconfirmed)','<windsock.local.26.4.f36f7bb482efbeef36badc272dd72144@example.com>',1,'2026-11-30 10:00:00.000000','2026-11-30 10:00:00.000000',NULL,NULL,NULL,'2026-11-30 10:00:15.000000');
INSERT INTO "deliveries" VALUES(6,5,'email','ops@example.com','notice',NULL,28,'delivery:4:dead:1','local','load','manual__1','watches','notice','["ops@example.com"]','[]','sent','sent','✗ a word of the rule ''load, each'' by email could not be delivered: refused: gone@example.com: 550 5.1.1 no such user','<windsock.local.28.5.413f973b782a08c0c91ad60ed009afcc@example.com>',1,'2026-11-30 10:00:15.000000','2026-11-30 10:00:15.000000',NULL,NULL,NULL,'2026-11-30 10:00:15.000000');
INSERT INTO "deliveries" VALUES(7,6,'email','ops@example.com','recovered',3,29,'run:30d449eb471a08d35489ff3cd98a490f:success','local','report','manual__2','production','recovered','["ops@example.com"]','[]','sent','sent','Re: ✗ report failed (unconfirmed)','<windsock.local.29.6.2393c2bb12e5258fa0085f7595cb4628@example.com>',1,'2026-11-30 10:00:15.000000','2026-11-30 10:00:15.000000',NULL,NULL,NULL,'2026-11-30 10:00:15.000000');
INSERT INTO "deliveries" VALUES(8,7,'email','ops@example.com','follow_up',1,30,'run:97124d0d8652790b69ee39a952cc0833:failed','local','etl','manual__2','production','run_failed_again','["ops@example.com"]',NULL,'pending','rule ''production'': failure 2 of incident 1',NULL,'<windsock.local.30.7.e14b56218fbe394d0f88f86ee314f21b@example.com>',0,'2026-11-30 10:00:15.000000','2026-11-30 14:00:00.000000',NULL,NULL,NULL,NULL);
INSERT INTO "deliveries" VALUES(9,8,'email','ops@example.com','opened',5,34,'run_stuck:84e954a18c00fdd2ebf7f4ff2712361b','local','nightly','scheduled__1','watches','own','["ops@example.com"]','[]','sent','sent','✗ nightly/scheduled__1: stuck','<windsock.local.34.8.39e715d6a2cf6f4117b5fc11e8613272@example.com>',1,'2026-11-30 10:02:10.000000','2026-11-30 10:02:10.000000',NULL,NULL,NULL,'2026-11-30 10:02:10.000000');
INSERT INTO "deliveries" VALUES(10,9,'email','full@example.com','failure',2,36,'run:ab4a18268f5819f71578888646bc723f:failed','local','load','manual__4','load, each','run_failed','["full@example.com"]','["full@example.com"]','pending','to be tried again: 127.0.0.1:56535: Error connecting to 127.0.0.1 on port 56535: [Errno 111] Connect call failed (''127.0.0.1'', 56535)',NULL,'<windsock.local.36.9.c3f54978b894f305a7e47ff6f570b157@example.com>',1,'2026-11-30 10:03:25.000000','2026-11-30 10:03:28.025169',NULL,NULL,NULL,NULL);
INSERT INTO "deliveries" VALUES(11,9,'email','gone@example.com','failure',2,36,'run:ab4a18268f5819f71578888646bc723f:failed','local','load','manual__4','load, each','run_failed','["gone@example.com"]','["gone@example.com"]','pending','to be tried again: 127.0.0.1:56535: Error connecting to 127.0.0.1 on port 56535: [Errno 111] Connect call failed (''127.0.0.1'', 56535)',NULL,'<windsock.local.36.9.644cb87a091e4a7acdc213be4163cfea@example.com>',0,'2026-11-30 10:03:25.000000','2026-11-30 10:03:29.062090',NULL,NULL,NULL,NULL);
INSERT INTO "deliveries" VALUES(12,10,'email','ops@example.com','recovered',2,37,'run:6678476cb719197b82ddda02808aa266:success','local','load','manual__5','production','recovered','["ops@example.com"]','["ops@example.com"]','pending','to be tried again: 127.0.0.1:56535: Error connecting to 127.0.0.1 on port 56535: [Errno 111] Connect call failed (''127.0.0.1'', 56535)',NULL,'<windsock.local.37.10.de15f2bf545c3110e08775d1401162c7@example.com>',0,'2026-11-30 10:03:25.000000','2026-11-30 10:03:29.062090',NULL,NULL,NULL,NULL);
CREATE TABLE delivery_attempts (
	id INTEGER NOT NULL, 
	delivery_id BIGINT NOT NULL, 
	at DATETIME NOT NULL, 
	outcome VARCHAR(20) NOT NULL, 
	answer TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "delivery_attempts" VALUES(1,4,'2026-11-30 10:00:15.000000','dead','gone@example.com: 550 5.1.1 no such user');
INSERT INTO "delivery_attempts" VALUES(2,2,'2026-11-30 10:00:15.000000','sent','250 OK');
INSERT INTO "delivery_attempts" VALUES(3,3,'2026-11-30 10:00:15.000000','pending','full@example.com: 452 4.2.2 mailbox full');
INSERT INTO "delivery_attempts" VALUES(4,1,'2026-11-30 10:00:15.000000','sent','250 OK');
INSERT INTO "delivery_attempts" VALUES(5,5,'2026-11-30 10:00:15.000000','sent','250 OK');
INSERT INTO "delivery_attempts" VALUES(6,6,'2026-11-30 10:00:15.000000','sent','250 OK');
INSERT INTO "delivery_attempts" VALUES(7,7,'2026-11-30 10:00:15.000000','sent','250 OK');
INSERT INTO "delivery_attempts" VALUES(8,3,'2026-11-30 10:00:30.000000','pending','full@example.com: 452 4.2.2 mailbox full');
INSERT INTO "delivery_attempts" VALUES(9,3,'2026-11-30 10:00:50.000000','pending','full@example.com: 452 4.2.2 mailbox full');
INSERT INTO "delivery_attempts" VALUES(10,3,'2026-11-30 10:01:10.000000','pending','full@example.com: 452 4.2.2 mailbox full');
INSERT INTO "delivery_attempts" VALUES(11,3,'2026-11-30 10:02:10.000000','pending','full@example.com: 452 4.2.2 mailbox full');
INSERT INTO "delivery_attempts" VALUES(12,9,'2026-11-30 10:02:10.000000','sent','250 OK');
INSERT INTO "delivery_attempts" VALUES(13,3,'2026-11-30 10:03:25.000000','unavailable','127.0.0.1:56535: Error connecting to 127.0.0.1 on port 56535: [Errno 111] Connect call failed (''127.0.0.1'', 56535)');
INSERT INTO "delivery_attempts" VALUES(14,10,'2026-11-30 10:03:25.000000','unavailable','127.0.0.1:56535: Error connecting to 127.0.0.1 on port 56535: [Errno 111] Connect call failed (''127.0.0.1'', 56535)');
CREATE TABLE events (
	seq INTEGER NOT NULL, 
	source VARCHAR(120) NOT NULL, 
	id VARCHAR(200) NOT NULL, 
	type VARCHAR(60) NOT NULL, 
	subject TEXT NOT NULL, 
	time DATETIME NOT NULL, 
	received_at DATETIME NOT NULL, 
	deployment VARCHAR(100) NOT NULL, 
	dag_id TEXT, 
	run_id TEXT, 
	task_id TEXT, 
	state VARCHAR(20), 
	asset_uri TEXT, 
	body TEXT NOT NULL, 
	PRIMARY KEY (seq), 
	CONSTRAINT uq_events_source_id UNIQUE (source, id)
);
INSERT INTO "events" VALUES(1,'/airflow/local','asset_event:42','airflow.asset.updated','file:///models/model.pkl','2026-11-22 10:00:06.000000','2026-11-30 10:00:00.000000','local','Airflow_Lab2','manual__1','build_model',NULL,'file:///models/model.pkl','{"specversion":"1.0","id":"asset_event:42","source":"/airflow/local","type":"airflow.asset.updated","subject":"file:///models/model.pkl","time":"2026-11-22T10:00:06.000000Z","datacontenttype":"application/json","data":{"asset":{"name":"model.pkl","uri":"file:///models/model.pkl","group":"asset"},"asset_event_id":42,"timestamp":"2026-11-22T10:00:06.000000Z","extra":{"accuracy":0.98},"source_dag_id":"Airflow_Lab2","source_run_id":"manual__1","source_task_id":"build_model","source_map_index":-1,"created_dagruns":[{"dag_id":"release","run_id":"asset_triggered__1"}],"reported_by":"reconciler"}}');
INSERT INTO "events" VALUES(2,'/airflow/local','run:ffa50b9e9505a8dec8cedcb4d5b3c409:failed','airflow.dag_run.failed','etl/manual__2026-11-22T10:00:00+00:00','2026-11-22 10:00:07.500000','2026-11-30 10:00:00.000000','local','etl','manual__2026-11-22T10:00:00+00:00',NULL,'failed',NULL,'{"specversion":"1.0","id":"run:ffa50b9e9505a8dec8cedcb4d5b3c409:failed","source":"/airflow/local","type":"airflow.dag_run.failed","subject":"etl/manual__2026-11-22T10:00:00+00:00","time":"2026-11-22T10:00:07.500000Z","datacontenttype":"application/json","data":{"dag_id":"etl","run_id":"manual__2026-11-22T10:00:00+00:00","state":"failed","run_type":"manual","logical_date":"2026-11-22T10:00:00.000000Z","data_interval_start":"2026-11-22T10:00:00.000000Z","data_interval_end":"2026-11-22T10:00:00.000000Z","run_after":"2026-11-22T10:00:00.000000Z","queued_at":"2026-11-22T10:00:00.100000Z","start_date":"2026-11-22T10:00:01.000000Z","end_date":"2026-11-22T10:00:07.500000Z","message":"task_failure","reported_by":"listener"}}');
INSERT INTO "events" VALUES(3,'/airflow/local','run:ffa50b9e9505a8dec8cedcb4d5b3c409:running','airflow.dag_run.running','etl/manual__2026-11-22T10:00:00+00:00','2026-11-22 10:00:01.000000','2026-11-30 10:00:00.000000','local','etl','manual__2026-11-22T10:00:00+00:00',NULL,'running',NULL,'{"specversion":"1.0","id":"run:ffa50b9e9505a8dec8cedcb4d5b3c409:running","source":"/airflow/local","type":"airflow.dag_run.running","subject":"etl/manual__2026-11-22T10:00:00+00:00","time":"2026-11-22T10:00:01.000000Z","datacontenttype":"application/json","data":{"dag_id":"etl","run_id":"manual__2026-11-22T10:00:00+00:00","state":"running","run_type":"manual","logical_date":"2026-11-22T10:00:00.000000Z","data_interval_start":"2026-11-22T10:00:00.000000Z","data_interval_end":"2026-11-22T10:00:00.000000Z","run_after":"2026-11-22T10:00:00.000000Z","queued_at":"2026-11-22T10:00:00.100000Z","start_date":"2026-11-22T10:00:01.000000Z","end_date":null,"message":null,"reported_by":"listener"}}');
INSERT INTO "events" VALUES(4,'/airflow/local','run:ffa50b9e9505a8dec8cedcb4d5b3c409:success','airflow.dag_run.success','etl/manual__2026-11-22T10:00:00+00:00','2026-11-22 10:00:07.500000','2026-11-30 10:00:00.000000','local','etl','manual__2026-11-22T10:00:00+00:00',NULL,'success',NULL,'{"specversion":"1.0","id":"run:ffa50b9e9505a8dec8cedcb4d5b3c409:success","source":"/airflow/local","type":"airflow.dag_run.success","subject":"etl/manual__2026-11-22T10:00:00+00:00","time":"2026-11-22T10:00:07.500000Z","datacontenttype":"application/json","data":{"dag_id":"etl","run_id":"manual__2026-11-22T10:00:00+00:00","state":"success","run_type":"manual","logical_date":"2026-11-22T10:00:00.000000Z","data_interval_start":"2026-11-22T10:00:00.000000Z","data_interval_end":"2026-11-22T10:00:00.000000Z","run_after":"2026-11-22T10:00:00.000000Z","queued_at":"2026-11-22T10:00:00.100000Z","start_date":"2026-11-22T10:00:01.000000Z","end_date":"2026-11-22T10:00:07.500000Z","message":"success","reported_by":"listener"}}');
INSERT INTO "events" VALUES(5,'/airflow/local','task:01936a5e-0000-7000-8000-000000000003:failed','airflow.task_instance.failed','etl/manual__2026-11-22T10:00:00+00:00/load','2026-11-22 10:00:06.250000','2026-11-30 10:00:00.000000','local','etl','manual__2026-11-22T10:00:00+00:00','load','failed',NULL,'{"specversion":"1.0","id":"task:01936a5e-0000-7000-8000-000000000003:failed","source":"/airflow/local","type":"airflow.task_instance.failed","subject":"etl/manual__2026-11-22T10:00:00+00:00/load","time":"2026-11-22T10:00:06.250000Z","datacontenttype":"application/json","data":{"dag_id":"etl","run_id":"manual__2026-11-22T10:00:00+00:00","task_id":"load","map_index":-1,"ti_id":"01936a5e-0000-7000-8000-000000000003","try_number":1,"max_tries":0,"state":"failed","start_date":"2026-11-22T10:00:02.000000Z","end_date":"2026-11-22T10:00:06.250000Z","operator":"PythonOperator","hostname":"worker-1","error":{"type":"ValueError","message":"no such table: <b>größe</b>","traceback":null},"reported_by":"listener"}}');
INSERT INTO "events" VALUES(6,'/airflow/local','task:01936a5e-0000-7000-8000-000000000007:removed','airflow.task_instance.removed','etl/manual__2026-11-22T10:00:00+00:00/load','2026-11-22 10:00:06.250000','2026-11-30 10:00:00.000000','local','etl','manual__2026-11-22T10:00:00+00:00','load','removed',NULL,'{"specversion":"1.0","id":"task:01936a5e-0000-7000-8000-000000000007:removed","source":"/airflow/local","type":"airflow.task_instance.removed","subject":"etl/manual__2026-11-22T10:00:00+00:00/load","time":"2026-11-22T10:00:06.250000Z","datacontenttype":"application/json","data":{"dag_id":"etl","run_id":"manual__2026-11-22T10:00:00+00:00","task_id":"load","map_index":-1,"ti_id":"01936a5e-0000-7000-8000-000000000007","try_number":1,"max_tries":0,"state":"removed","start_date":"2026-11-22T10:00:02.000000Z","end_date":"2026-11-22T10:00:06.250000Z","operator":"PythonOperator","hostname":"worker-1","error":null,"reported_by":"reconciler"}}');
INSERT INTO "events" VALUES(7,'/airflow/local','task:01936a5e-0000-7000-8000-000000000001:running','airflow.task_instance.running','etl/manual__2026-11-22T10:00:00+00:00/load','2026-11-22 10:00:02.000000','2026-11-30 10:00:00.000000','local','etl','manual__2026-11-22T10:00:00+00:00','load','running',NULL,'{"specversion":"1.0","id":"task:01936a5e-0000-7000-8000-000000000001:running","source":"/airflow/local","type":"airflow.task_instance.running","subject":"etl/manual__2026-11-22T10:00:00+00:00/load","time":"2026-11-22T10:00:02.000000Z","datacontenttype":"application/json","data":{"dag_id":"etl","run_id":"manual__2026-11-22T10:00:00+00:00","task_id":"load","map_index":-1,"ti_id":"01936a5e-0000-7000-8000-000000000001","try_number":1,"max_tries":0,"state":"running","start_date":"2026-11-22T10:00:02.000000Z","end_date":null,"operator":"PythonOperator","hostname":"worker-1","error":null,"reported_by":"listener"}}');
INSERT INTO "events" VALUES(8,'/airflow/local','task:01936a5e-0000-7000-8000-000000000005:skipped','airflow.task_instance.skipped','etl/manual__2026-11-22T10:00:00+00:00/load','2026-11-22 10:00:06.250000','2026-11-30 10:00:00.000000','local','etl','manual__2026-11-22T10:00:00+00:00','load','skipped',NULL,'{"specversion":"1.0","id":"task:01936a5e-0000-7000-8000-000000000005:skipped","source":"/airflow/local","type":"airflow.task_instance.skipped","subject":"etl/manual__2026-11-22T10:00:00+00:00/load","time":"2026-11-22T10:00:06.250000Z","datacontenttype":"application/json","data":{"dag_id":"etl","run_id":"manual__2026-11-22T10:00:00+00:00","task_id":"load","map_index":-1,"ti_id":"01936a5e-0000-7000-8000-000000000005","try_number":1,"max_tries":0,"state":"skipped","start_date":"2026-11-22T10:00:02.000000Z","end_date":"2026-11-22T10:00:06.250000Z","operator":"PythonOperator","hostname":"worker-1","error":null,"reported_by":"listener"}}');
INSERT INTO "events" VALUES(9,'/airflow/local','task:01936a5e-0000-7000-8000-000000000001:success','airflow.task_instance.success','etl/manual__2026-11-22T10:00:00+00:00/load','2026-11-22 10:00:06.250000','2026-11-30 10:00:00.000000','local','etl','manual__2026-11-22T10:00:00+00:00','load','success',NULL,'{"specversion":"1.0","id":"task:01936a5e-0000-7000-8000-000000000001:success","source":"/airflow/local","type":"airflow.task_instance.success","subject":"etl/manual__2026-11-22T10:00:00+00:00/load","time":"2026-11-22T10:00:06.250000Z","datacontenttype":"application/json","data":{"dag_id":"etl","run_id":"manual__2026-11-22T10:00:00+00:00","task_id":"load","map_index":-1,"ti_id":"01936a5e-0000-7000-8000-000000000001","try_number":1,"max_tries":0,"state":"success","start_date":"2026-11-22T10:00:02.000000Z","end_date":"2026-11-22T10:00:06.250000Z","operator":"PythonOperator","hostname":"worker-1","error":null,"reported_by":"listener"}}');
INSERT INTO "events" VALUES(10,'/airflow/local','task:01936a5e-0000-7000-8000-000000000004:up_for_retry','airflow.task_instance.up_for_retry','etl/manual__2026-11-22T10:00:00+00:00/load','2026-11-22 10:00:06.250000','2026-11-30 10:00:00.000000','local','etl','manual__2026-11-22T10:00:00+00:00','load','up_for_retry',NULL,'{"specversion":"1.0","id":"task:01936a5e-0000-7000-8000-000000000004:up_for_retry","source":"/airflow/local","type":"airflow.task_instance.up_for_retry","subject":"etl/manual__2026-11-22T10:00:00+00:00/load","time":"2026-11-22T10:00:06.250000Z","datacontenttype":"application/json","data":{"dag_id":"etl","run_id":"manual__2026-11-22T10:00:00+00:00","task_id":"load","map_index":-1,"ti_id":"01936a5e-0000-7000-8000-000000000004","try_number":1,"max_tries":2,"state":"up_for_retry","start_date":"2026-11-22T10:00:02.000000Z","end_date":"2026-11-22T10:00:06.250000Z","operator":"PythonOperator","hostname":"worker-1","error":{"type":"OSError","message":"connection reset","traceback":null},"reported_by":"listener"}}');
INSERT INTO "events" VALUES(11,'/airflow/local','task:01936a5e-0000-7000-8000-000000000006:upstream_failed','airflow.task_instance.upstream_failed','etl/manual__2026-11-22T10:00:00+00:00/load','2026-11-22 10:00:06.250000','2026-11-30 10:00:00.000000','local','etl','manual__2026-11-22T10:00:00+00:00','load','upstream_failed',NULL,'{"specversion":"1.0","id":"task:01936a5e-0000-7000-8000-000000000006:upstream_failed","source":"/airflow/local","type":"airflow.task_instance.upstream_failed","subject":"etl/manual__2026-11-22T10:00:00+00:00/load","time":"2026-11-22T10:00:06.250000Z","datacontenttype":"application/json","data":{"dag_id":"etl","run_id":"manual__2026-11-22T10:00:00+00:00","task_id":"load","map_index":-1,"ti_id":"01936a5e-0000-7000-8000-000000000006","try_number":1,"max_tries":0,"state":"upstream_failed","start_date":"2026-11-22T10:00:02.000000Z","end_date":"2026-11-22T10:00:06.250000Z","operator":"PythonOperator","hostname":"worker-1","error":null,"reported_by":"reconciler"}}');
INSERT INTO "events" VALUES(12,'/airflow/local','airflow_unreachable:e079cadcec2fd540b2efc8f83f520ab5:recovered','windsock.airflow.recovered','local','2026-11-22 10:30:00.000000','2026-11-30 10:00:00.000000','local',NULL,NULL,NULL,NULL,NULL,'{"specversion":"1.0","id":"airflow_unreachable:e079cadcec2fd540b2efc8f83f520ab5:recovered","source":"/airflow/local","type":"windsock.airflow.recovered","subject":"local","time":"2026-11-22T10:30:00.000000Z","datacontenttype":"application/json","data":{"watch":"nightly","what":"Airflow local answers again, after 30 min","since":"2026-11-22T10:00:00.000000Z","lasted_seconds":1800.0,"reported_by":"monitor"}}');
INSERT INTO "events" VALUES(13,'/airflow/local','airflow_unreachable:e079cadcec2fd540b2efc8f83f520ab5','windsock.airflow.unreachable','local','2026-11-22 10:30:00.000000','2026-11-30 10:00:00.000000','local',NULL,NULL,NULL,NULL,NULL,'{"specversion":"1.0","id":"airflow_unreachable:e079cadcec2fd540b2efc8f83f520ab5","source":"/airflow/local","type":"windsock.airflow.unreachable","subject":"local","time":"2026-11-22T10:30:00.000000Z","datacontenttype":"application/json","data":{"watch":"nightly","what":"Airflow local could not be asked since 2026-11-22 10:00 UTC: no answer from Airflow","since":"2026-11-22T10:00:00.000000Z","error":"no answer from Airflow","after_seconds":300.0,"reported_by":"monitor"}}');
INSERT INTO "events" VALUES(14,'/airflow/local','asset_stale:84b1:recovered','windsock.asset.recovered','file:///models/model.pkl','2026-11-22 10:30:00.000000','2026-11-30 10:00:00.000000','local','etl',NULL,NULL,NULL,'file:///models/model.pkl','{"specversion":"1.0","id":"asset_stale:84b1:recovered","source":"/airflow/local","type":"windsock.asset.recovered","subject":"file:///models/model.pkl","time":"2026-11-22T10:30:00.000000Z","datacontenttype":"application/json","data":{"watch":"nightly","what":"file:///models/model.pkl was updated again","since":"2026-11-22T10:00:00.000000Z","dag_id":"etl","asset":{"name":"model.pkl","uri":"file:///models/model.pkl","group":"asset"},"ended":"windsock.asset.stale","lasted_seconds":1800.0,"reported_by":"monitor"}}');
INSERT INTO "events" VALUES(15,'/airflow/local','asset_stale:008eaa30760194fc0dc4eac5df5e0e21','windsock.asset.stale','file:///models/model.pkl','2026-11-22 10:30:00.000000','2026-11-30 10:00:00.000000','local','etl',NULL,NULL,NULL,'file:///models/model.pkl','{"specversion":"1.0","id":"asset_stale:008eaa30760194fc0dc4eac5df5e0e21","source":"/airflow/local","type":"windsock.asset.stale","subject":"file:///models/model.pkl","time":"2026-11-22T10:30:00.000000Z","datacontenttype":"application/json","data":{"watch":"nightly","what":"file:///models/model.pkl was not updated for 30 min, usually 5 min","since":"2026-11-22T10:00:00.000000Z","dag_id":"etl","asset":{"name":"model.pkl","uri":"file:///models/model.pkl","group":"asset"},"updated_at":"2026-11-22T10:00:00.000000Z","after_seconds":900.0,"usual_seconds":300.0,"spread_seconds":20.0,"intervals":12,"reported_by":"monitor"}}');
INSERT INTO "events" VALUES(16,'/airflow/local','asset_unconsumed:42:07b635e8e917ed16db3d119fd54e62e7','windsock.asset.unconsumed','file:///models/model.pkl','2026-11-22 10:30:00.000000','2026-11-30 10:00:00.000000','local','release',NULL,NULL,NULL,'file:///models/model.pkl','{"specversion":"1.0","id":"asset_unconsumed:42:07b635e8e917ed16db3d119fd54e62e7","source":"/airflow/local","type":"windsock.asset.unconsumed","subject":"file:///models/model.pkl","time":"2026-11-22T10:30:00.000000Z","datacontenttype":"application/json","data":{"watch":"nightly","what":"file:///models/model.pkl was updated at 2026-11-22 10:00 UTC, 30 min ago, and release did not run","since":"2026-11-22T10:00:00.000000Z","dag_id":"release","asset":{"name":"model.pkl","uri":"file:///models/model.pkl","group":"asset"},"asset_event_id":42,"updated_at":"2026-11-22T10:00:00.000000Z","after_seconds":900.0,"reported_by":"monitor"}}');
INSERT INTO "events" VALUES(17,'/airflow/local','delivery:7:dead:1','windsock.delivery.dead','delivery 7','2026-11-22 10:30:00.000000','2026-11-30 10:00:00.000000','local','etl','scheduled__2026-11-22T09:00:00+00:00',NULL,NULL,NULL,'{"specversion":"1.0","id":"delivery:7:dead:1","source":"/airflow/local","type":"windsock.delivery.dead","subject":"delivery 7","time":"2026-11-22T10:30:00.000000Z","datacontenttype":"application/json","data":{"watch":null,"what":"a word of the rule ''failures'' by email could not be delivered: 550 5.1.1 no such user","since":"2026-11-22T10:00:00.000000Z","delivery_id":7,"dag_id":"etl","run_id":"scheduled__2026-11-22T09:00:00+00:00","channel":"email","rule":"failures","reason":"550 5.1.1 no such user","reported_by":"monitor"}}');
INSERT INTO "events" VALUES(18,'/airflow/local','delivery:7:parked:3','windsock.delivery.parked','delivery 7','2026-11-22 10:30:00.000000','2026-11-30 10:00:00.000000','local',NULL,NULL,NULL,NULL,NULL,'{"specversion":"1.0","id":"delivery:7:parked:3","source":"/airflow/local","type":"windsock.delivery.parked","subject":"delivery 7","time":"2026-11-22T10:30:00.000000Z","datacontenttype":"application/json","data":{"watch":null,"what":"a word of the rule ''failures'' by email waits: 550 5.4.5 daily limit","since":null,"delivery_id":7,"dag_id":null,"run_id":null,"channel":"email","rule":"failures","reason":"550 5.4.5 daily limit","reported_by":"monitor"}}');
INSERT INTO "events" VALUES(19,'/airflow/local','mail_failing:4134546da23484ac0c1a2c92ffe6ea98','windsock.mail.failing','mail','2026-11-22 10:30:00.000000','2026-11-30 10:00:00.000000','local',NULL,NULL,NULL,NULL,NULL,'{"specversion":"1.0","id":"mail_failing:4134546da23484ac0c1a2c92ffe6ea98","source":"/airflow/local","type":"windsock.mail.failing","subject":"mail","time":"2026-11-22T10:30:00.000000Z","datacontenttype":"application/json","data":{"watch":"nightly","what":"no mail could be sent since 2026-11-22 10:00 UTC: 535 5.7.8 Username and Password not accepted","since":"2026-11-22T10:00:00.000000Z","error":"535 5.7.8 Username and Password not accepted","after_seconds":300.0,"reported_by":"monitor"}}');
INSERT INTO "events" VALUES(20,'/airflow/local','mail_failing:4134546da23484ac0c1a2c92ffe6ea98:recovered','windsock.mail.recovered','mail','2026-11-22 10:30:00.000000','2026-11-30 10:00:00.000000','local',NULL,NULL,NULL,NULL,NULL,'{"specversion":"1.0","id":"mail_failing:4134546da23484ac0c1a2c92ffe6ea98:recovered","source":"/airflow/local","type":"windsock.mail.recovered","subject":"mail","time":"2026-11-22T10:30:00.000000Z","datacontenttype":"application/json","data":{"watch":"nightly","what":"mail is sent again, after 30 min","since":"2026-11-22T10:00:00.000000Z","lasted_seconds":1800.0,"reported_by":"monitor"}}');
INSERT INTO "events" VALUES(21,'/airflow/local','run_late:6163c27777a0cf5846898be276d5f62e','windsock.run.late','etl/scheduled__2026-11-22T09:00:00+00:00','2026-11-22 10:30:00.000000','2026-11-30 10:00:00.000000','local','etl','scheduled__2026-11-22T09:00:00+00:00',NULL,NULL,NULL,'{"specversion":"1.0","id":"run_late:6163c27777a0cf5846898be276d5f62e","source":"/airflow/local","type":"windsock.run.late","subject":"etl/scheduled__2026-11-22T09:00:00+00:00","time":"2026-11-22T10:30:00.000000Z","datacontenttype":"application/json","data":{"watch":"nightly","what":"a run of etl, due at 2026-11-22 10:00 UTC, has waited 30 min for its start","since":"2026-11-22T10:00:00.000000Z","dag_id":"etl","run_id":"scheduled__2026-11-22T09:00:00+00:00","run_type":"scheduled","expected_at":"2026-11-22T10:00:00.000000Z","queued_at":"2026-11-22T10:00:00.500000Z","after_seconds":900.0,"reported_by":"monitor"}}');
INSERT INTO "events" VALUES(22,'/airflow/local','run_missing:048a689daba278a307ca23576f52bbd8','windsock.run.missing','etl','2026-11-22 10:30:00.000000','2026-11-30 10:00:00.000000','local','etl',NULL,NULL,NULL,NULL,'{"specversion":"1.0","id":"run_missing:048a689daba278a307ca23576f52bbd8","source":"/airflow/local","type":"windsock.run.missing","subject":"etl","time":"2026-11-22T10:30:00.000000Z","datacontenttype":"application/json","data":{"watch":"nightly","what":"etl has no run for 2026-11-22 10:00 UTC, 30 min ago","since":"2026-11-22T10:00:00.000000Z","dag_id":"etl","expected_at":"2026-11-22T10:00:00.000000Z","after_seconds":900.0,"schedule":"0 10 * * *","reported_by":"monitor"}}');
INSERT INTO "events" VALUES(23,'/airflow/local','run_stuck:3afbd5e09a20f09edb9c923785194cd8','windsock.run.stuck','etl/scheduled__2026-11-22T09:00:00+00:00','2026-11-22 10:30:00.000000','2026-11-30 10:00:00.000000','local','etl','scheduled__2026-11-22T09:00:00+00:00',NULL,NULL,NULL,'{"specversion":"1.0","id":"run_stuck:3afbd5e09a20f09edb9c923785194cd8","source":"/airflow/local","type":"windsock.run.stuck","subject":"etl/scheduled__2026-11-22T09:00:00+00:00","time":"2026-11-22T10:30:00.000000Z","datacontenttype":"application/json","data":{"watch":"nightly","what":"a run of etl has been running for 30 min, at most 15 min","since":"2026-11-22T10:00:00.000000Z","dag_id":"etl","run_id":"scheduled__2026-11-22T09:00:00+00:00","run_type":"scheduled","start_date":"2026-11-22T10:00:00.000000Z","running_seconds":1800.0,"after_seconds":900.0,"usual_seconds":null,"spread_seconds":null,"runs":null,"reported_by":"monitor"}}');
INSERT INTO "events" VALUES(24,'/airflow/local','run:25bd15b38fd19110b3119f434779ef89:failed','airflow.dag_run.failed','etl/manual__1','2026-11-30 09:50:10.000000','2026-11-30 10:00:00.000000','local','etl','manual__1',NULL,'failed',NULL,'{"specversion":"1.0","id":"run:25bd15b38fd19110b3119f434779ef89:failed","source":"/airflow/local","type":"airflow.dag_run.failed","subject":"etl/manual__1","time":"2026-11-30T09:50:10.000000Z","datacontenttype":"application/json","data":{"dag_id":"etl","run_id":"manual__1","state":"failed","run_type":"manual","start_date":"2026-11-30T09:50:00.000000Z","end_date":"2026-11-30T09:50:10.000000Z","reported_by":"listener"}}');
INSERT INTO "events" VALUES(25,'/airflow/local','run:69e2b6c6061831e92a0956d89713872d:failed','airflow.dag_run.failed','load/manual__1','2026-11-30 09:51:50.000000','2026-11-30 10:00:00.000000','local','load','manual__1',NULL,'failed',NULL,'{"specversion":"1.0","id":"run:69e2b6c6061831e92a0956d89713872d:failed","source":"/airflow/local","type":"airflow.dag_run.failed","subject":"load/manual__1","time":"2026-11-30T09:51:50.000000Z","datacontenttype":"application/json","data":{"dag_id":"load","run_id":"manual__1","state":"failed","run_type":"manual","start_date":"2026-11-30T09:51:40.000000Z","end_date":"2026-11-30T09:51:50.000000Z","reported_by":"listener"}}');
INSERT INTO "events" VALUES(26,'/airflow/local','run:952b68ae2e225a32d9eed22e694b91ce:failed','airflow.dag_run.failed','report/manual__1','2026-11-30 09:53:30.000000','2026-11-30 10:00:00.000000','local','report','manual__1',NULL,'failed',NULL,'{"specversion":"1.0","id":"run:952b68ae2e225a32d9eed22e694b91ce:failed","source":"/airflow/local","type":"airflow.dag_run.failed","subject":"report/manual__1","time":"2026-11-30T09:53:30.000000Z","datacontenttype":"application/json","data":{"dag_id":"report","run_id":"manual__1","state":"failed","run_type":"manual","start_date":"2026-11-30T09:53:20.000000Z","end_date":"2026-11-30T09:53:30.000000Z","reported_by":"listener"}}');
INSERT INTO "events" VALUES(27,'/airflow/local','run:7a179bebe9f7a6bc99ca27a06d0b7e3a:failed','airflow.dag_run.failed','noisy/manual__1','2026-11-30 09:55:10.000000','2026-11-30 10:00:00.000000','local','noisy','manual__1',NULL,'failed',NULL,'{"specversion":"1.0","id":"run:7a179bebe9f7a6bc99ca27a06d0b7e3a:failed","source":"/airflow/local","type":"airflow.dag_run.failed","subject":"noisy/manual__1","time":"2026-11-30T09:55:10.000000Z","datacontenttype":"application/json","data":{"dag_id":"noisy","run_id":"manual__1","state":"failed","run_type":"manual","start_date":"2026-11-30T09:55:00.000000Z","end_date":"2026-11-30T09:55:10.000000Z","reported_by":"listener"}}');
INSERT INTO "events" VALUES(28,'/airflow/local','delivery:4:dead:1','windsock.delivery.dead','delivery 4','2026-11-30 10:00:15.000000','2026-11-30 10:00:15.000000','local','load','manual__1',NULL,NULL,NULL,'{"specversion":"1.0","id":"delivery:4:dead:1","source":"/airflow/local","type":"windsock.delivery.dead","subject":"delivery 4","time":"2026-11-30T10:00:15.000000Z","datacontenttype":"application/json","data":{"watch":null,"what":"a word of the rule ''load, each'' by email could not be delivered: refused: gone@example.com: 550 5.1.1 no such user","since":"2026-11-30T10:00:00.000000Z","delivery_id":4,"dag_id":"load","run_id":"manual__1","channel":"email","rule":"load, each","reason":"refused: gone@example.com: 550 5.1.1 no such user","reported_by":"monitor"}}');
INSERT INTO "events" VALUES(29,'/airflow/local','run:30d449eb471a08d35489ff3cd98a490f:success','airflow.dag_run.success','report/manual__2','2026-11-30 09:58:30.000000','2026-11-30 10:00:15.000000','local','report','manual__2',NULL,'success',NULL,'{"specversion":"1.0","id":"run:30d449eb471a08d35489ff3cd98a490f:success","source":"/airflow/local","type":"airflow.dag_run.success","subject":"report/manual__2","time":"2026-11-30T09:58:30.000000Z","datacontenttype":"application/json","data":{"dag_id":"report","run_id":"manual__2","state":"success","run_type":"manual","start_date":"2026-11-30T09:58:20.000000Z","end_date":"2026-11-30T09:58:30.000000Z","reported_by":"listener"}}');
INSERT INTO "events" VALUES(30,'/airflow/local','run:97124d0d8652790b69ee39a952cc0833:failed','airflow.dag_run.failed','etl/manual__2','2026-11-30 09:58:40.000000','2026-11-30 10:00:15.000000','local','etl','manual__2',NULL,'failed',NULL,'{"specversion":"1.0","id":"run:97124d0d8652790b69ee39a952cc0833:failed","source":"/airflow/local","type":"airflow.dag_run.failed","subject":"etl/manual__2","time":"2026-11-30T09:58:40.000000Z","datacontenttype":"application/json","data":{"dag_id":"etl","run_id":"manual__2","state":"failed","run_type":"manual","start_date":"2026-11-30T09:58:30.000000Z","end_date":"2026-11-30T09:58:40.000000Z","reported_by":"listener"}}');
INSERT INTO "events" VALUES(31,'/airflow/local','run:61690d9f0a8898f897231c1a0e94d844:running','airflow.dag_run.running','etl/manual__3','2026-11-30 09:59:00.000000','2026-11-30 10:00:15.000000','local','etl','manual__3',NULL,'running',NULL,'{"specversion":"1.0","id":"run:61690d9f0a8898f897231c1a0e94d844:running","source":"/airflow/local","type":"airflow.dag_run.running","subject":"etl/manual__3","time":"2026-11-30T09:59:00.000000Z","datacontenttype":"application/json","data":{"dag_id":"etl","run_id":"manual__3","state":"running","run_type":"manual","start_date":"2026-11-30T09:59:00.000000Z","end_date":null,"reported_by":"listener"}}');
INSERT INTO "events" VALUES(32,'/airflow/local','task:01936a5e-0000-7000-8000-000000000001:failed','airflow.task_instance.failed','etl/manual__2/load','2026-11-30 10:00:05.000000','2026-11-30 10:00:15.000000','local','etl','manual__2','load','failed',NULL,'{"specversion":"1.0","id":"task:01936a5e-0000-7000-8000-000000000001:failed","source":"/airflow/local","type":"airflow.task_instance.failed","subject":"etl/manual__2/load","time":"2026-11-30T10:00:05.000000Z","datacontenttype":"application/json","data":{"dag_id":"etl","run_id":"manual__2","task_id":"load","map_index":-1,"ti_id":"01936a5e-0000-7000-8000-000000000001","try_number":2,"max_tries":0,"state":"failed","start_date":"2026-11-30T10:00:01.000000Z","end_date":"2026-11-30T10:00:05.000000Z","operator":"PythonOperator","hostname":"worker-1","error":null,"reported_by":"listener"}}');
INSERT INTO "events" VALUES(33,'/airflow/local','asset_event:7','airflow.asset.updated','file:///model.pkl','2026-11-30 10:00:06.000000','2026-11-30 10:00:15.000000','local','etl','manual__1','load',NULL,'file:///model.pkl','{"specversion":"1.0","id":"asset_event:7","source":"/airflow/local","type":"airflow.asset.updated","subject":"file:///model.pkl","time":"2026-11-30T10:00:06.000000Z","datacontenttype":"application/json","data":{"asset":{"name":"model.pkl","uri":"file:///model.pkl","group":"asset"},"asset_event_id":7,"timestamp":"2026-11-30T10:00:06.000000Z","extra":{"accuracy":0.97},"source_dag_id":"etl","source_run_id":"manual__1","source_task_id":"load","source_map_index":-1,"created_dagruns":[],"reported_by":"reconciler"}}');
INSERT INTO "events" VALUES(34,'/airflow/local','run_stuck:84e954a18c00fdd2ebf7f4ff2712361b','windsock.run.stuck','nightly/scheduled__1','2026-11-30 10:02:10.000000','2026-11-30 10:02:10.000000','local','nightly','scheduled__1',NULL,NULL,NULL,'{"specversion":"1.0","id":"run_stuck:84e954a18c00fdd2ebf7f4ff2712361b","source":"/airflow/local","type":"windsock.run.stuck","subject":"nightly/scheduled__1","time":"2026-11-30T10:02:10.000000Z","datacontenttype":"application/json","data":{"watch":"long runs","what":"a run of nightly has been running for 1 min 10 s, at most 1 min","since":"2026-11-30T10:01:00.000000Z","dag_id":"nightly","run_id":"scheduled__1","run_type":"scheduled","start_date":"2026-11-30T10:01:00.000000Z","running_seconds":70.0,"after_seconds":60.0,"usual_seconds":null,"spread_seconds":null,"runs":null,"reported_by":"monitor"}}');
INSERT INTO "events" VALUES(35,'/airflow/local','run:8c93341d5414d8785fdaaec1b4823bbc:failed','airflow.dag_run.failed','etl/manual__4','2026-11-30 10:00:30.000000','2026-11-30 10:03:25.000000','local','etl','manual__4',NULL,'failed',NULL,'{"specversion":"1.0","id":"run:8c93341d5414d8785fdaaec1b4823bbc:failed","source":"/airflow/local","type":"airflow.dag_run.failed","subject":"etl/manual__4","time":"2026-11-30T10:00:30.000000Z","datacontenttype":"application/json","data":{"dag_id":"etl","run_id":"manual__4","state":"failed","run_type":"manual","start_date":"2026-11-30T10:00:20.000000Z","end_date":"2026-11-30T10:00:30.000000Z","reported_by":"listener"}}');
INSERT INTO "events" VALUES(36,'/airflow/local','run:ab4a18268f5819f71578888646bc723f:failed','airflow.dag_run.failed','load/manual__4','2026-11-30 10:00:31.000000','2026-11-30 10:03:25.000000','local','load','manual__4',NULL,'failed',NULL,'{"specversion":"1.0","id":"run:ab4a18268f5819f71578888646bc723f:failed","source":"/airflow/local","type":"airflow.dag_run.failed","subject":"load/manual__4","time":"2026-11-30T10:00:31.000000Z","datacontenttype":"application/json","data":{"dag_id":"load","run_id":"manual__4","state":"failed","run_type":"manual","start_date":"2026-11-30T10:00:21.000000Z","end_date":"2026-11-30T10:00:31.000000Z","reported_by":"listener"}}');
INSERT INTO "events" VALUES(37,'/airflow/local','run:6678476cb719197b82ddda02808aa266:success','airflow.dag_run.success','load/manual__5','2026-11-30 10:00:50.000000','2026-11-30 10:03:25.000000','local','load','manual__5',NULL,'success',NULL,'{"specversion":"1.0","id":"run:6678476cb719197b82ddda02808aa266:success","source":"/airflow/local","type":"airflow.dag_run.success","subject":"load/manual__5","time":"2026-11-30T10:00:50.000000Z","datacontenttype":"application/json","data":{"dag_id":"load","run_id":"manual__5","state":"success","run_type":"manual","start_date":"2026-11-30T10:00:40.000000Z","end_date":"2026-11-30T10:00:50.000000Z","reported_by":"listener"}}');
CREATE TABLE failed_attempts (
	hash VARCHAR(64) NOT NULL, 
	number INTEGER NOT NULL, 
	began_at DATETIME NOT NULL, 
	ends_at DATETIME NOT NULL, 
	PRIMARY KEY (hash)
);
CREATE TABLE import_errors (
	deployment VARCHAR(100) NOT NULL, 
	error_id VARCHAR(200) NOT NULL, 
	filename TEXT NOT NULL, 
	bundle_name TEXT, 
	open BOOLEAN NOT NULL, 
	times INTEGER NOT NULL, 
	last_seq BIGINT NOT NULL, 
	PRIMARY KEY (deployment, error_id)
);
CREATE TABLE incidents (
	id INTEGER NOT NULL, 
	deployment VARCHAR(100) NOT NULL, 
	"key" VARCHAR(300) NOT NULL, 
	dag_id TEXT, 
	title TEXT NOT NULL, 
	state VARCHAR(10) NOT NULL, 
	failures INTEGER NOT NULL, 
	opened_at DATETIME NOT NULL, 
	opened_seq BIGINT NOT NULL, 
	last_at DATETIME NOT NULL, 
	last_seq BIGINT NOT NULL, 
	closed_at DATETIME, 
	closed_seq BIGINT, 
	closed_because TEXT, 
	flapping BOOLEAN NOT NULL, 
	acked_at DATETIME, 
	acked_by TEXT, 
	ack_reason TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "incidents" VALUES(1,'local','dag:etl','etl','etl fails','open',3,'2026-11-30 09:50:10.000000',24,'2026-11-30 10:00:30.000000',35,NULL,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "incidents" VALUES(2,'local','dag:load','load','load fails','closed',2,'2026-11-30 09:51:50.000000',25,'2026-11-30 10:00:31.000000',36,'2026-11-30 10:00:50.000000',37,'airflow.dag_run.success of load/manual__5',0,'2026-11-30 10:00:30.000000','alice','looking into it');
INSERT INTO "incidents" VALUES(3,'local','dag:report','report','report fails','closed',1,'2026-11-30 09:53:30.000000',26,'2026-11-30 09:53:30.000000',26,'2026-11-30 09:58:30.000000',29,'airflow.dag_run.success of report/manual__2',0,NULL,NULL,NULL);
INSERT INTO "incidents" VALUES(4,'local','dag:noisy','noisy','noisy fails','open',1,'2026-11-30 09:55:10.000000',27,'2026-11-30 09:55:10.000000',27,NULL,NULL,NULL,0,'2026-11-30 10:00:30.000000','root','it moves');
INSERT INTO "incidents" VALUES(5,'local','windsock.run.stuck:nightly','nightly','a run of nightly is stuck','open',1,'2026-11-30 10:02:10.000000',34,'2026-11-30 10:02:10.000000',34,NULL,NULL,NULL,0,NULL,NULL,NULL);
CREATE TABLE log_marks (
	at DATETIME NOT NULL, 
	seq BIGINT NOT NULL, 
	PRIMARY KEY (at)
);
INSERT INTO "log_marks" VALUES('2026-11-30 10:00:00.000000',0);
CREATE TABLE log_state (
	id INTEGER NOT NULL, 
	epoch VARCHAR(32) NOT NULL, 
	last_seq BIGINT NOT NULL, 
	pruned_seq BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "log_state" VALUES(1,'b6afe393',37,0);
CREATE TABLE notification_incidents (
	incident_id BIGINT NOT NULL, 
	notification_id BIGINT NOT NULL, 
	PRIMARY KEY (incident_id, notification_id)
);
INSERT INTO "notification_incidents" VALUES(1,1);
INSERT INTO "notification_incidents" VALUES(2,2);
INSERT INTO "notification_incidents" VALUES(2,3);
INSERT INTO "notification_incidents" VALUES(3,4);
INSERT INTO "notification_incidents" VALUES(3,6);
INSERT INTO "notification_incidents" VALUES(1,7);
INSERT INTO "notification_incidents" VALUES(5,8);
INSERT INTO "notification_incidents" VALUES(2,9);
INSERT INTO "notification_incidents" VALUES(2,10);
CREATE TABLE notifications (
	id INTEGER NOT NULL, 
	rule VARCHAR(200) NOT NULL, 
	kind VARCHAR(20) NOT NULL, 
	template VARCHAR(100) NOT NULL, 
	group_key VARCHAR(64) NOT NULL, 
	incident_id BIGINT, 
	deployment VARCHAR(100) NOT NULL, 
	created_at DATETIME NOT NULL, 
	due_at DATETIME NOT NULL, 
	sealed_at DATETIME, 
	PRIMARY KEY (id)
);
INSERT INTO "notifications" VALUES(1,'production','opened','run_failed','3d2fb97383b59ee5ab305604602b15eb',1,'local','2026-11-30 10:00:00.000000','2026-11-30 10:00:00.000000','2026-11-30 10:00:00.000000');
INSERT INTO "notifications" VALUES(2,'production','opened','run_failed','cb3c26b6b1fdc7c8fd833dd6bfe4460f',2,'local','2026-11-30 10:00:00.000000','2026-11-30 10:00:00.000000','2026-11-30 10:00:00.000000');
INSERT INTO "notifications" VALUES(3,'load, each','failure','run_failed','44c4e45a7e86c7b60dd4b0cc4a1f3e9e',2,'local','2026-11-30 10:00:00.000000','2026-11-30 10:00:00.000000','2026-11-30 10:00:00.000000');
INSERT INTO "notifications" VALUES(4,'production','opened','run_failed','4f0607864be1e2c33bd9031e506627d6',3,'local','2026-11-30 10:00:00.000000','2026-11-30 10:00:00.000000','2026-11-30 10:00:00.000000');
INSERT INTO "notifications" VALUES(5,'watches','notice','notice','aa45f5c15ddb14a94d1344bdd11be3b0',NULL,'local','2026-11-30 10:00:15.000000','2026-11-30 10:00:15.000000','2026-11-30 10:00:15.000000');
INSERT INTO "notifications" VALUES(6,'production','recovered','recovered','2d1fb3ad2ded0c6a2ff538c0c2e7a147',3,'local','2026-11-30 10:00:15.000000','2026-11-30 10:00:15.000000','2026-11-30 10:00:15.000000');
INSERT INTO "notifications" VALUES(7,'production','follow_up','run_failed_again','3d2fb97383b59ee5ab305604602b15eb',1,'local','2026-11-30 10:00:15.000000','2026-11-30 14:00:00.000000',NULL);
INSERT INTO "notifications" VALUES(8,'watches','opened','own','06867ae6cb5110739de97e932dd5f980',5,'local','2026-11-30 10:02:10.000000','2026-11-30 10:02:10.000000','2026-11-30 10:02:10.000000');
INSERT INTO "notifications" VALUES(9,'load, each','failure','run_failed','44c4e45a7e86c7b60dd4b0cc4a1f3e9e',2,'local','2026-11-30 10:03:25.000000','2026-11-30 10:03:25.000000','2026-11-30 10:03:25.000000');
INSERT INTO "notifications" VALUES(10,'production','recovered','recovered','c20559cb6c38267351b1e2a63ace06eb',2,'local','2026-11-30 10:03:25.000000','2026-11-30 10:03:25.000000','2026-11-30 10:03:25.000000');
CREATE TABLE sessions (
	hash VARCHAR(64) NOT NULL, 
	owner TEXT NOT NULL, 
	sealed BLOB NOT NULL, 
	expires_at DATETIME NOT NULL, 
	PRIMARY KEY (hash)
);
INSERT INTO "sessions" VALUES('eb17c92721b6e96615766835828211490f9181ed835a8486531f3f6124f74f5e','alice',X'EDA4592F02576F7079C2F662B76F9B6F667C263E16617AFB1071812E74CFC9E2B96A131FA925B81D5BAD4283DE6916B5400EFCCDAE662FCF488B67492592658275B1911A4ED4B02D627F4D7843EE29FC33CA0E38FF77B0BB13B4EE661055B0A9E6954FCC4BAEBB68908C4A3873931B7F39FD256660029974B96790EE1315A29EF0F4F5F5FAB6E81AC51BEE31EE','2026-11-30 22:00:00.000000');
INSERT INTO "sessions" VALUES('9cadb28e7b47a188f29a5fd112520c0108041a76b68cb23d91824d0c42a78b0c','root',X'DD7F2EBD91045A0C01D6384DBF3C74C59096FA329EAC1B0FF52F7C191704E8D1281B3E1CC5698A6D658759254880982578CA829485D5320045D1BB5DA2B0B2455A78C703D5A2CB5586A3CED0A19072F91670D4AE3F91233A51E3350ABDFB5828187C3EBA308D9E29C19D6CEF1C89B6E952FF4FD9431278C1C58A558002B84AA821C06EB4A7BCBA4A4669E8','2026-11-30 22:00:00.000000');
CREATE TABLE silences (
	id INTEGER NOT NULL, 
	"match" JSON NOT NULL, 
	deployment VARCHAR(100), 
	dag_id TEXT, 
	author TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	starts_at DATETIME NOT NULL, 
	ends_at DATETIME NOT NULL, 
	ended_by TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "silences" VALUES(1,'{"deployment": ["local"], "dag_id": ["noisy"]}','local','noisy','root','the source moves','2026-11-30 10:00:00.000000','2026-11-30 10:00:00.000000','2026-12-07 10:00:00.000000',NULL);
INSERT INTO "silences" VALUES(2,'{"deployment": ["local"], "dag_id": ["report"]}','local','report','root','over','2026-11-30 10:00:00.000000','2026-11-30 10:00:00.000000','2026-11-30 10:00:00.000000','root');
CREATE TABLE task_instances (
	deployment VARCHAR(100) NOT NULL, 
	dag_id VARCHAR(250) NOT NULL, 
	run_id VARCHAR(250) NOT NULL, 
	task_id VARCHAR(250) NOT NULL, 
	map_index INTEGER NOT NULL, 
	ti_id VARCHAR(36) NOT NULL, 
	try_number INTEGER NOT NULL, 
	max_tries INTEGER NOT NULL, 
	state VARCHAR(20) NOT NULL, 
	operator TEXT, 
	hostname TEXT, 
	start_date DATETIME, 
	end_date DATETIME, 
	error JSON, 
	last_seq BIGINT NOT NULL, 
	PRIMARY KEY (deployment, dag_id, run_id, task_id, map_index)
);
INSERT INTO "task_instances" VALUES('local','etl','manual__2026-11-22T10:00:00+00:00','load',-1,'01936a5e-0000-7000-8000-000000000006',1,0,'upstream_failed','PythonOperator','worker-1','2026-11-22 10:00:02.000000','2026-11-22 10:00:06.250000',NULL,11);
INSERT INTO "task_instances" VALUES('local','etl','manual__2','load',-1,'01936a5e-0000-7000-8000-000000000001',2,0,'failed','PythonOperator','worker-1','2026-11-30 10:00:01.000000','2026-11-30 10:00:05.000000',NULL,32);
CREATE TABLE tokens (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	hash VARCHAR(64) NOT NULL, 
	prefix VARCHAR(20) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	scopes JSON NOT NULL, 
	created_by TEXT, 
	dags JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	expires_at DATETIME NOT NULL, 
	last_used_at DATETIME, 
	revoked_at DATETIME, 
	CONSTRAINT uq_tokens_hash UNIQUE (hash)
);
INSERT INTO "tokens" VALUES(1,'dd0b74f4a52a159a79aaafd54f55bc9577cb8c8cfa25d9fc1be2699daecdd6c0','wst_9J1EsW','the wall''s screen','["read"]','alice','[["local", "etl"], ["local", "load"], ["local", "report"]]','2026-11-30 10:00:30.000000','2027-11-30 10:00:30.000000',NULL,NULL);
INSERT INTO "tokens" VALUES(2,'ed416c3c2f0777b999b59035be11cfbe5b0106c08e5695b4c3fa2374f3cfe18c','wst_73F59T','etl''s own','["read"]','alice','[["local", "etl"]]','2026-11-30 10:00:30.000000','2027-02-28 10:00:30.000000',NULL,NULL);
INSERT INTO "tokens" VALUES(3,'28ee927a984c2fb91e37fee53d008c39235db5dcbf4db88740fc1d469f0973b3','wst_gNFSy8','the office','["admin"]','root','null','2026-11-30 10:00:30.000000','2027-02-28 10:00:30.000000',NULL,NULL);
INSERT INTO "tokens" VALUES(4,'ec585c6a0a8ed5a26f37a4788b27008d3ef091babc0c794d520b01274122efff','wst_nXYc44','lost','["read"]','root','null','2026-11-30 10:00:30.000000','2027-02-28 10:00:30.000000',NULL,'2026-11-30 10:00:30.000000');
INSERT INTO "tokens" VALUES(5,'e9d29cf93c485ea4821d4162d2a532b91f33418cead783b000916be045d4db8e','wst_Ss3FC2','the machine reads','["read"]',NULL,'null','2026-11-30 10:00:30.000000','2027-02-28 10:00:30.000000','2026-11-30 10:02:25.000000',NULL);
INSERT INTO "tokens" VALUES(6,'e875f3c24fa42efc814159ed92ca67c8aa7d460c6150386bd2ddb1f687bc4832','wst_7qc73F','the machine reports','["ingest"]',NULL,'null','2026-11-30 10:00:30.000000','2027-02-28 10:00:30.000000',NULL,NULL);
CREATE TABLE told_before (
	"key" VARCHAR(32) NOT NULL, 
	state VARCHAR(20) NOT NULL, 
	at DATETIME NOT NULL, 
	message_id VARCHAR(250) NOT NULL, 
	subject TEXT, 
	PRIMARY KEY ("key")
);
CREATE TABLE tries (
	deployment VARCHAR(100) NOT NULL, 
	dag_id VARCHAR(250) NOT NULL, 
	run_id VARCHAR(250) NOT NULL, 
	task_id VARCHAR(250) NOT NULL, 
	map_index INTEGER NOT NULL, 
	try_number INTEGER NOT NULL, 
	ti_id VARCHAR(36), 
	state VARCHAR(20) NOT NULL, 
	filed BOOLEAN NOT NULL, 
	last_seq BIGINT NOT NULL, 
	PRIMARY KEY (deployment, dag_id, run_id, task_id, map_index, try_number)
);
INSERT INTO "tries" VALUES('local','etl','manual__2026-11-22T10:00:00+00:00','load',-1,1,'01936a5e-0000-7000-8000-000000000006','upstream_failed',0,11);
INSERT INTO "tries" VALUES('local','etl','manual__2','load',-1,2,'01936a5e-0000-7000-8000-000000000001','failed',0,32);
CREATE TABLE unsubscribed (
	address VARCHAR(320) NOT NULL, 
	rule VARCHAR(200) NOT NULL, 
	at DATETIME NOT NULL, 
	PRIMARY KEY (address, rule)
);
CREATE TABLE watch_findings (
	deployment VARCHAR(100) NOT NULL, 
	type VARCHAR(60) NOT NULL, 
	subject VARCHAR(1500) NOT NULL, 
	found VARCHAR(200) NOT NULL, 
	raised_at DATETIME NOT NULL, 
	ended_at DATETIME, 
	PRIMARY KEY (deployment, type, subject)
);
INSERT INTO "watch_findings" VALUES('local','windsock.run.stuck','nightly','84e954a18c00fdd2ebf7f4ff2712361b','2026-11-30 10:02:10.000000',NULL);
CREATE TABLE watermarks (
	deployment VARCHAR(100) NOT NULL, 
	name VARCHAR(50) NOT NULL, 
	moment DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	PRIMARY KEY (deployment, name)
);
INSERT INTO "watermarks" VALUES('local','origin','2026-10-31 09:55:00.000000','2026-10-31 10:00:00.000000');
INSERT INTO "watermarks" VALUES('local','task_instances','2026-11-30 10:03:25.000000','2026-11-30 10:03:25.000000');
INSERT INTO "watermarks" VALUES('local','dag_runs','2026-11-30 10:03:25.000000','2026-11-30 10:03:25.000000');
INSERT INTO "watermarks" VALUES('local','asset_events','2026-11-30 10:03:25.000000','2026-11-30 10:03:25.000000');
INSERT INTO "watermarks" VALUES('local','watched_since','2026-11-30 10:00:00.000000','2026-11-30 10:03:25.000000');
INSERT INTO "watermarks" VALUES('local','watched_until','2026-11-30 10:03:25.000000','2026-11-30 10:03:25.000000');
INSERT INTO "watermarks" VALUES('local','old_task_instances','2026-11-30 10:03:25.000000','2026-11-30 10:03:25.000000');
INSERT INTO "watermarks" VALUES('local','old_dag_runs','2026-11-30 10:03:25.000000','2026-11-30 10:03:25.000000');
INSERT INTO "watermarks" VALUES('local','past.task_instances','2026-10-31 09:55:00.000000','2026-11-30 10:00:00.000000');
INSERT INTO "watermarks" VALUES('local','past.dag_runs','2026-10-31 09:55:00.000000','2026-11-30 10:00:00.000000');
INSERT INTO "watermarks" VALUES('local','past.asset_events','2026-10-31 09:55:00.000000','2026-11-30 10:00:00.000000');
INSERT INTO "watermarks" VALUES('local','past.old_task_instances','2026-10-31 09:55:00.000000','2026-11-30 10:00:00.000000');
INSERT INTO "watermarks" VALUES('local','past.old_dag_runs','2026-10-31 09:55:00.000000','2026-11-30 10:00:00.000000');
INSERT INTO "watermarks" VALUES('local','compared','2026-11-30 10:03:25.000000','2026-11-30 10:03:25.000000');
INSERT INTO "watermarks" VALUES('local','looked','2026-11-30 10:03:25.000000','2026-11-30 10:03:25.000000');
CREATE INDEX ix_assets_last_seq ON assets (last_seq);
CREATE INDEX ix_dag_runs_dag_id_last_seq ON dag_runs (dag_id, last_seq);
CREATE INDEX ix_dag_runs_last_seq ON dag_runs (last_seq);
CREATE INDEX ix_delivery_attempts_delivery_id ON delivery_attempts (delivery_id);
CREATE INDEX ix_events_dag_id_run_id_seq ON events (dag_id, run_id, seq);
CREATE INDEX ix_events_received_at ON events (received_at);
CREATE INDEX ix_decisions_event_id ON decisions (event_id);
CREATE INDEX ix_decisions_incident_id ON decisions (incident_id);
CREATE INDEX ix_decisions_notification_id ON decisions (notification_id);
CREATE INDEX ix_incidents_deployment_key_opened_at ON incidents (deployment, "key", opened_at);
CREATE INDEX ix_incidents_state_opened_at ON incidents (state, opened_at);
CREATE INDEX ix_notifications_rule_group_key_id ON notifications (rule, group_key, id);
CREATE INDEX ix_notification_incidents_notification_id ON notification_incidents (notification_id);
CREATE INDEX ix_silences_ends_at ON silences (ends_at);
CREATE INDEX ix_deliveries_channel_settled_at ON deliveries (channel, settled_at);
CREATE INDEX ix_deliveries_dag_id_run_id ON deliveries (dag_id, run_id);
CREATE INDEX ix_deliveries_state_channel_next_attempt_at_id ON deliveries (state, channel, next_attempt_at, id);
CREATE INDEX ix_deliveries_state_lease_until ON deliveries (state, lease_until);
CREATE INDEX ix_tokens_created_by ON tokens (created_by);
CREATE INDEX ix_events_dag_id_seq ON events (dag_id, seq);
CREATE INDEX ix_events_type_seq ON events (type, seq);
CREATE INDEX ix_events_asset_uri_seq ON events (asset_uri, seq) WHERE asset_uri IS NOT NULL;
CREATE INDEX ix_dag_runs_state_last_seq ON dag_runs (state, last_seq);
CREATE INDEX ix_sessions_expires_at ON sessions (expires_at);
CREATE INDEX ix_sessions_owner ON sessions (owner);
CREATE INDEX ix_failed_attempts_ends_at ON failed_attempts (ends_at);
CREATE INDEX ix_told_before_at ON told_before (at);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('tokens',6);
COMMIT;
