//! One session with Redis: read, take, wait for the disk, acknowledge.
//! In: the configuration, the border. Out: an end, and what is durable but not acknowledged. Called from: [`crate::sources`].
//! Invariants: a batch is acknowledged after all of it is durable and its refused entries are in `stream:dead`.

use std::{sync::Arc, time::Duration};

use layer5_core::Rejection;
use layer5_ingest::BodyFormat;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    connection::{Address, Connection, RedisError, addresses},
    entry::Batch,
    resp::{self, ReplyError},
};
use crate::{
    config::RedisConfig,
    intake::{Committed, Intake, Source, TakeError},
    sources::{Ended, Link},
};

/// How long Redis holds a read that has nothing to give: the longest wait until a stop is noticed.
const BLOCK: Duration = Duration::from_millis(500);
/// The first id of a stream, and of what is pending.
const BEGIN: &[u8] = b"0-0";

/// What outlives one session.
#[derive(Debug)]
pub(in crate::sources) struct Session {
    config: RedisConfig,
    addresses: Vec<Address>,
    streams: Vec<Vec<u8>>,
    consumer: Vec<u8>,
    intake: Intake,
    link: Arc<Link>,
    /// A place for every batch that may be in flight.
    places: Arc<Semaphore>,
    /// Durable and not acknowledged: stream, ids as arguments, their number.
    owed: Vec<(usize, Vec<u8>, usize)>,
}

/// A batch that was taken.
#[derive(Debug)]
struct Taken {
    durables: Vec<oneshot::Receiver<Committed>>,
    acks: Vec<(Vec<u8>, usize)>,
    dead: Vec<Dead>,
    /// Its place among the batches in flight.
    _place: OwnedSemaphorePermit,
}

/// An entry that was refused.
#[derive(Debug)]
struct Dead {
    stream: usize,
    id: Vec<u8>,
    line: Vec<u8>,
    rejection: Rejection,
}

impl Session {
    pub(in crate::sources) fn new(config: RedisConfig, intake: Intake, link: Arc<Link>) -> Self {
        let url = config.url.as_deref().unwrap_or_default();
        let streams = match config.partitions {
            0 => vec![config.stream.clone().into_bytes()],
            n => (0..n)
                .map(|i| format!("{}:{i}", config.stream).into_bytes())
                .collect(),
        };
        let host = || std::fs::read_to_string("/proc/sys/kernel/hostname");
        let consumer = match config.consumer.as_str() {
            "" => host().map_or("layer5".to_owned(), |name| name.trim().to_owned()),
            name => name.to_owned(),
        };
        Self {
            addresses: addresses(url).expect("a checked configuration has sound addresses"),
            streams,
            consumer: consumer.into_bytes(),
            places: Arc::new(Semaphore::new(config.batches_in_flight)),
            config,
            intake,
            link,
            owed: Vec::new(),
        }
    }
}

impl crate::sources::Session for Session {
    type Error = RedisError;

    async fn run(&mut self, stop: watch::Receiver<bool>) -> Ended<RedisError> {
        let opened = async {
            let mut follower = self.connect().await?;
            self.pay_what_is_owed(&mut follower).await?;
            Ok((self.connect().await?, follower))
        };
        let (reader, follower) = match opened.await {
            Ok(connections) => connections,
            Err(error) => {
                let worked = false;
                return Ended::Failed { error, worked };
            }
        };
        self.link.answered();
        let began = Instant::now();
        let (taken, to_acknowledge) = mpsc::channel(self.config.batches_in_flight);
        // The follower says so when it can't go on; the reader then has no reason to.
        let (broken, is_broken) = watch::channel(false);
        let mut owed = Vec::new();
        let read = async {
            let mut is_broken = is_broken;
            tokio::select! {
                ended = self.read(reader, taken, stop) => ended,
                _ = is_broken.wait_for(|broken| *broken) => Ok(()),
            }
        };
        let followed = self.follow(follower, to_acknowledge, broken, &mut owed);
        let (read, followed) = tokio::join!(read, followed);
        self.owed = owed;
        match read.and(followed) {
            Ok(()) => Ended::Asked,
            Err(error) => Ended::Failed {
                error,
                worked: began.elapsed() > BLOCK * 2,
            },
        }
    }
}

impl Session {
    async fn connect(&self) -> Result<Connection, RedisError> {
        let patience = Duration::from_secs_f64(self.config.timeout_seconds);
        if let Some(path) = &self.config.password_file {
            // Each time anew: a password may change while the service runs.
            let read = tokio::fs::read_to_string(path).await;
            let password = read.map_err(|source| RedisError::Password {
                path: path.clone(),
                source,
            })?;
            let given = |address: &Address| address.with_password(password.trim());
            let addresses: Vec<Address> = self.addresses.iter().map(given).collect();
            return Connection::open(&addresses, patience, self.config.reply_bytes_max).await;
        }
        Connection::open(&self.addresses, patience, self.config.reply_bytes_max).await
    }

    async fn pay_what_is_owed(&mut self, follower: &mut Connection) -> Result<(), RedisError> {
        while let Some((stream, ids, n)) = self.owed.last() {
            let paid = self.acknowledge(follower, *stream, ids, *n).await;
            match paid {
                // The group went with the stream: nothing is pending there.
                Err(RedisError::Reply(ReplyError::Refused(e))) if e.starts_with("NOGROUP") => {}
                paid => paid?,
            }
            self.owed.pop();
        }
        Ok(())
    }

    /// Reads batches and takes them, until it is asked to stop.
    async fn read(
        &self,
        mut reader: Connection,
        taken: mpsc::Sender<Taken>,
        stop: watch::Receiver<bool>,
    ) -> Result<(), RedisError> {
        let group = self.config.group.as_bytes();
        for stream in &self.streams {
            let create = [
                b"XGROUP" as &[u8],
                b"CREATE",
                stream,
                group,
                b"0",
                b"MKSTREAM",
            ];
            match reader.tell(&create).await {
                Err(RedisError::Reply(ReplyError::Refused(e))) if e.starts_with("BUSYGROUP") => {}
                created => created?,
            }
        }
        for stream in 0..self.streams.len() {
            let mut after = BEGIN.to_vec();
            while !*stop.borrow() {
                let batch = self.read_pending(&mut reader, stream, &mut after).await?;
                let Some(batch) = batch else { break };
                self.pass_on(batch, &taken).await?;
            }
        }
        let idle = Duration::from_secs_f64(self.config.claim_idle_seconds);
        let mut next_claim = Instant::now();
        while !*stop.borrow() {
            if Instant::now() >= next_claim {
                self.claim(&mut reader, &taken, &stop, idle).await?;
                next_claim = Instant::now() + idle / 2;
            }
            if let Some(batch) = self.read_new(&mut reader).await? {
                self.pass_on(batch, &taken).await?;
            }
        }
        Ok(())
    }

    /// What we had read before and not acknowledged, after the id `after`; `None` at its end.
    async fn read_pending(
        &self,
        reader: &mut Connection,
        stream: usize,
        after: &mut Vec<u8>,
    ) -> Result<Option<Batch>, RedisError> {
        let count = self.config.batch_len.to_string();
        let command = [
            b"XREADGROUP" as &[u8],
            b"GROUP",
            self.config.group.as_bytes(),
            &self.consumer,
            b"COUNT",
            count.as_bytes(),
            b"STREAMS",
            &self.streams[stream],
            after,
        ];
        reader.send(&command).await?;
        let mut reply = reader.reply().await?;
        let mut batch = Batch::new(self.streams.len());
        if reply.array("streams")?.is_some() {
            reply.array("a stream and its entries")?;
            reply.text("the name of a stream")?;
            let n = reply.array("entries")?.unwrap_or(0);
            *after = batch.read(stream, n, &mut reply)?.to_vec();
        }
        Ok((!batch.is_empty()).then_some(batch))
    }

    /// What is new in any stream; waits for it a little.
    async fn read_new(&self, reader: &mut Connection) -> Result<Option<Batch>, RedisError> {
        let count = (self.config.batch_len / self.streams.len())
            .max(1)
            .to_string();
        let block = BLOCK.as_millis().to_string();
        let mut command = vec![
            b"XREADGROUP" as &[u8],
            b"GROUP",
            self.config.group.as_bytes(),
            &self.consumer,
            b"COUNT",
            count.as_bytes(),
            b"BLOCK",
            block.as_bytes(),
            b"STREAMS",
        ];
        command.extend(self.streams.iter().map(Vec::as_slice));
        command.extend(self.streams.iter().map(|_| b">" as &[u8]));
        reader.send(&command).await?;
        let patience = BLOCK + Duration::from_secs_f64(self.config.timeout_seconds);
        let mut reply = reader.reply_within(patience).await?;
        let Some(n_streams) = reply.array("streams")? else {
            return Ok(None);
        };
        let mut batch = Batch::new(self.streams.len());
        for _ in 0..n_streams {
            reply.array("a stream and its entries")?;
            let name = reply.text("the name of a stream")?;
            let stream = self.streams.iter().position(|stream| stream == name);
            let stream = stream.ok_or(ReplyError::Unexpected("a stream that was asked for"))?;
            let n = reply.array("entries")?.unwrap_or(0);
            batch.read(stream, n, &mut reply)?;
        }
        Ok(Some(batch))
    }

    /// Takes over what others have left lying.
    async fn claim(
        &self,
        reader: &mut Connection,
        taken: &mpsc::Sender<Taken>,
        stop: &watch::Receiver<bool>,
        idle: Duration,
    ) -> Result<(), RedisError> {
        let (idle, count) = (
            idle.as_millis().to_string(),
            self.config.batch_len.to_string(),
        );
        for stream in 0..self.streams.len() {
            let mut cursor = BEGIN.to_vec();
            while !*stop.borrow() {
                // Else what is in flight here could be taken for left lying.
                let all = self.config.batches_in_flight as u32;
                drop(self.places.acquire_many(all).await);
                let command = [
                    b"XAUTOCLAIM" as &[u8],
                    &self.streams[stream],
                    self.config.group.as_bytes(),
                    &self.consumer,
                    idle.as_bytes(),
                    &cursor,
                    b"COUNT",
                    count.as_bytes(),
                ];
                reader.send(&command).await?;
                let mut reply = reader.reply().await?;
                let n_parts = reply.array("claimed entries")?.unwrap_or(0);
                cursor = reply.text("a cursor")?.to_vec();
                let mut batch = Batch::new(self.streams.len());
                let n = reply.array("entries")?.unwrap_or(0);
                batch.read(stream, n, &mut reply)?;
                if n_parts > 2 {
                    // Redis has taken these out of the list of what is pending itself.
                    batch.trimmed += reply.array("ids")?.unwrap_or(0);
                }
                self.pass_on(batch, taken).await?;
                if cursor == BEGIN {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Takes a batch and hands it to the follower.
    async fn pass_on(&self, batch: Batch, taken: &mpsc::Sender<Taken>) -> Result<(), RedisError> {
        self.link.answered();
        self.link.lost(batch.trimmed);
        if batch.is_empty() {
            return Ok(());
        }
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.expect("nobody closes the places");
        let mut durables = Vec::new();
        let mut dead = Vec::new();
        // In parts only when the intake is smaller than one batch.
        let mut parts = vec![(0, batch.len())];
        while let Some((from, to)) = parts.pop() {
            if from == to {
                continue;
            }
            let lines = batch.lines(from, to);
            let part = self
                .intake
                .take_when_there_is_room(lines, BodyFormat::Ndjson, Source::Redis, None)
                .await;
            match part {
                Ok(part) => {
                    durables.extend(part.durable);
                    for (i, rejection) in part.rejected {
                        let (stream, id, line) = batch.entry(from + i);
                        let (id, line) = (id.to_vec(), line.to_vec());
                        dead.push(Dead {
                            stream,
                            id,
                            line,
                            rejection,
                        });
                    }
                }
                Err(TakeError::TooLarge { .. }) if to - from > 1 => {
                    let middle = from + (to - from) / 2;
                    parts.extend([(middle, to), (from, middle)]);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let acks = batch.acks;
        let batch = Taken {
            durables,
            acks,
            dead,
            _place: place,
        };
        // Without a follower the session is over, which the reader is told elsewhere.
        let _over = taken.send(batch).await;
        Ok(())
    }

    /// Acknowledges what is durable, in order. What is durable and can't be acknowledged any more goes to `owed`.
    async fn follow(
        &self,
        mut follower: Connection,
        mut to_acknowledge: mpsc::Receiver<Taken>,
        broken: watch::Sender<bool>,
        owed: &mut Vec<(usize, Vec<u8>, usize)>,
    ) -> Result<(), RedisError> {
        let mut outcome = Ok(());
        while let Some(batch) = to_acknowledge.recv().await {
            let mut durable = true;
            for committed in batch.durables {
                durable &= committed.await.is_ok();
            }
            if !durable {
                // Still pending at Redis: the next session reads it again.
                outcome = outcome.and(Err(RedisError::NotDurable));
            } else if outcome.is_ok() {
                outcome = self.bury(&mut follower, &batch.dead).await;
                // Whoever is not in its grave yet must come again.
                if outcome.is_ok() {
                    outcome = self.settle(&mut follower, batch.acks, owed).await;
                }
            } else if batch.dead.is_empty() {
                owe(batch.acks, owed);
            }
            if outcome.is_err() {
                broken.send_replace(true);
            }
        }
        outcome
    }

    async fn settle(
        &self,
        follower: &mut Connection,
        acks: Vec<(Vec<u8>, usize)>,
        owed: &mut Vec<(usize, Vec<u8>, usize)>,
    ) -> Result<(), RedisError> {
        for (stream, (ids, n)) in acks.iter().enumerate().filter(|(_, (_, n))| *n > 0) {
            if let Err(error) = self.acknowledge(follower, stream, ids, *n).await {
                owe(acks, owed);
                return Err(error);
            }
        }
        Ok(())
    }

    async fn acknowledge(
        &self,
        follower: &mut Connection,
        stream: usize,
        ids: &[u8],
        n: usize,
    ) -> Result<(), RedisError> {
        let mut command = Vec::with_capacity(ids.len() + 64);
        resp::begin(&mut command, 3 + n);
        for part in [
            b"XACK",
            &self.streams[stream][..],
            self.config.group.as_bytes(),
        ] {
            resp::argument(&mut command, part);
        }
        command.extend_from_slice(ids);
        follower.write(&command).await?;
        Ok(follower.reply().await?.accepted()?)
    }

    /// Keeps refused entries where their senders can find them.
    async fn bury(&self, follower: &mut Connection, dead: &[Dead]) -> Result<(), RedisError> {
        let mut commands = Vec::new();
        let len_max = self.config.dead_len_max.to_string();
        for Dead {
            stream,
            id,
            line,
            rejection,
        } in dead
        {
            let name = [&self.streams[*stream][..], b":dead"].concat();
            let parts = [
                b"XADD" as &[u8],
                &name,
                b"MAXLEN",
                b"~",
                len_max.as_bytes(),
                b"*",
                b"data",
                line,
                b"id",
                id,
                b"reason",
                rejection.reason.as_str().as_bytes(),
                b"field",
                rejection.field.as_bytes(),
                b"detail",
                rejection.detail.as_bytes(),
            ];
            resp::command(&mut commands, &parts);
        }
        follower.write(&commands).await?;
        for _ in dead {
            follower.reply().await?.accepted()?;
        }
        Ok(())
    }
}

fn owe(acks: Vec<(Vec<u8>, usize)>, owed: &mut Vec<(usize, Vec<u8>, usize)>) {
    let named = acks.into_iter().enumerate();
    owed.extend(
        named
            .filter(|(_, (_, n))| *n > 0)
            .map(|(stream, (ids, n))| (stream, ids, n)),
    );
}
