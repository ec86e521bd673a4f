//! A redis-server of our own, and senders that put a workload into its stream as Layer4 does.
//! In: a workload, how fast, for how long. Out: the same [`Outcome`] as over HTTP: a body is answered when Layer5 has
//! acknowledged its last entry. Called from: [`crate::load`].
//! Invariants: on a schedule a time counts from when the body was due, as in [`super::pressure`]; what Layer5 has
//! acknowledged is read from Redis itself every `LOOK_EVERY`.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use super::{
    pressure::{Outcome, Pressure},
    workload::{Form, Workload},
};

/// The stream and the group that Layer5 reads by default.
const STREAM: &str = "layer4_kpi_reports";
const GROUP: &str = "layer5";
/// Time between two looks at what is acknowledged: what times are exact to.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Longest wait for an answer of Redis, and for the last acknowledgement.
const PATIENCE: Duration = Duration::from_secs(40);

/// A running redis-server, killed when it is dropped.
#[derive(Debug)]
pub struct Redis {
    process: Child,
    /// Where it listens.
    pub at: SocketAddr,
}

impl Redis {
    /// Starts one in `folder` that keeps nothing on disk.
    ///
    /// # Errors
    /// When there is no redis-server, or it does not answer.
    pub fn start(folder: &Path) -> io::Result<Self> {
        let at = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let process = Command::new("redis-server")
            .args(["--port", &at.port().to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let redis = Self { process, at };
        let began = Instant::now();
        loop {
            match Client::connect(at).and_then(|mut client| client.call(&["PING"])) {
                Ok(_) => return Ok(redis),
                Err(error) if began.elapsed() > PATIENCE => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

/// An id of a stream's entry.
type EntryId = (u64, u64);

/// A body whose entries are in the stream.
struct Sent {
    last: EntryId,
    due: Instant,
    /// Told when it is acknowledged.
    answer: mpsc::Sender<()>,
}

/// Puts `workload` into the stream as `pressure` says, and waits until Layer5 has acknowledged all of it.
///
/// # Errors
/// When Redis does not answer as it should.
///
/// # Panics
/// When a sending thread panics.
pub fn send(redis: &Redis, workload: &Workload, pressure: &Pressure) -> io::Result<Outcome> {
    let gap = pressure
        .rate
        .map(|rate| workload.samples_per_body() as f64 / rate);
    let (next, began) = (AtomicU64::new(0), Instant::now());
    let (sent, watched) = mpsc::channel();
    let done = AtomicBool::new(false);
    let times = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(redis.at, watched, &done));
        let senders: Vec<_> = (0..pressure.connections)
            .map(|_| {
                let (sent, next) = (sent.clone(), &next);
                scope.spawn(move || {
                    one_sender(redis.at, workload, pressure, gap, began, next, &sent)
                })
            })
            .collect();
        let sending: io::Result<Vec<()>> = senders
            .into_iter()
            .map(|sender| sender.join().expect("a sender does not panic"))
            .collect();
        drop(sent);
        done.store(true, Ordering::Relaxed);
        let times = watcher.join().expect("the watcher does not panic");
        sending.and(times)
    })?;
    let bodies = next.load(Ordering::Relaxed);
    let due = gap.map_or(0, |gap| (pressure.span.as_secs_f64() / gap).ceil() as u64);
    Ok(Outcome {
        sent: bodies,
        unsent: due.saturating_sub(bodies),
        taken: times.len() as u64,
        times,
        took: began.elapsed(),
        next_body: pressure.first_body + bodies,
        ..Outcome::default()
    })
}

fn one_sender(
    at: SocketAddr,
    workload: &Workload,
    pressure: &Pressure,
    gap: Option<f64>,
    began: Instant,
    next: &AtomicU64,
    sent: &mpsc::Sender<Sent>,
) -> io::Result<()> {
    let mut client = Client::connect(at)?;
    let (mut body, mut commands) = (Vec::new(), Vec::new());
    loop {
        if gap.is_none() && began.elapsed() >= pressure.span {
            return Ok(());
        }
        let nth = next.fetch_add(1, Ordering::Relaxed);
        let mut due = Instant::now();
        if let Some(gap) = gap {
            let offset = Duration::from_secs_f64(nth as f64 * gap);
            if offset >= pressure.span || began.elapsed() > pressure.span + pressure.grace {
                next.fetch_sub(1, Ordering::Relaxed);
                return Ok(());
            }
            due = began + offset;
        }
        workload.write(pressure.first_body + nth, Form::Reports, &mut body);
        commands.clear();
        for report in body.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
            command(
                &mut commands,
                &[b"XADD", STREAM.as_bytes(), b"*", b"data", report],
            );
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        client.stream.get_mut().write_all(&commands)?;
        let mut last = (0, 0);
        for _ in 0..workload.reports_per_body() {
            last = client.reply()?.id()?;
        }
        let (answer, answered) = mpsc::channel();
        // The watcher lives as long as there are senders.
        let _gone = sent.send(Sent { last, due, answer });
        if gap.is_none() {
            // Who is not on a schedule sends when it was answered.
            let _late = answered.recv_timeout(PATIENCE);
        }
    }
}

/// Reads from Redis what Layer5 has acknowledged; the times of all bodies that were sent.
fn watch(
    at: SocketAddr,
    sent: mpsc::Receiver<Sent>,
    done: &AtomicBool,
) -> io::Result<Vec<Duration>> {
    let mut client = Client::connect(at)?;
    let (mut waiting, mut times) = (Vec::<Sent>::new(), Vec::new());
    let mut since = Instant::now();
    loop {
        let all_sent = done.load(Ordering::Relaxed);
        waiting.extend(sent.try_iter());
        let before = times.len();
        if !waiting.is_empty() {
            let end = acknowledged(&mut client)?;
            waiting.retain(|body| {
                let is_answered = end.is_some_and(|end| body.last < end);
                if is_answered {
                    times.push(body.due.elapsed());
                    // Who is on a schedule does not wait for it.
                    let _gone = body.answer.send(());
                }
                !is_answered
            });
        }
        if times.len() > before || !all_sent {
            since = Instant::now();
        }
        if all_sent && (waiting.is_empty() || since.elapsed() > PATIENCE) {
            return Ok(times);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The entries before this one are acknowledged; `None` while there is no group.
fn acknowledged(client: &mut Client) -> io::Result<Option<EntryId>> {
    let Ok(Reply::Array(groups)) = client.call(&["XINFO", "GROUPS", STREAM]) else {
        return Ok(None);
    };
    let ours = groups.iter().find_map(|group| {
        let Reply::Array(fields) = group else {
            return None;
        };
        let mut pairs = fields.chunks_exact(2);
        let is_ours = |pair: &[Reply]| pair[0].is("name") && pair[1].is(GROUP);
        fields.chunks_exact(2).find(|pair| is_ours(pair))?;
        pairs
            .find(|pair| pair[0].is("last-delivered-id"))
            .map(|pair| pair[1].id())
    });
    let Some(delivered) = ours.transpose()? else {
        return Ok(None);
    };
    // Asked afterwards: what was delivered and is not pending then was acknowledged.
    match client.call(&["XPENDING", STREAM, GROUP])? {
        Reply::Array(summary) if matches!(summary.first(), Some(Reply::Number(n)) if *n > 0) => {
            summary.get(1).map(Reply::id).transpose()
        }
        _ => Ok(Some((delivered.0, delivered.1 + 1))),
    }
}

/// What Redis answers.
#[derive(Debug)]
enum Reply {
    Text(Vec<u8>),
    Number(i64),
    Array(Vec<Reply>),
}

impl Reply {
    fn is(&self, text: &str) -> bool {
        matches!(self, Self::Text(bytes) if bytes == text.as_bytes())
    }

    fn id(&self) -> io::Result<EntryId> {
        let Self::Text(bytes) = self else {
            return Err(invalid("no id"));
        };
        let text = std::str::from_utf8(bytes).map_err(|_| invalid("no id"))?;
        let parts = text.split_once('-');
        let numbers = parts.and_then(|(a, b)| a.parse().ok().zip(b.parse().ok()));
        numbers.ok_or_else(|| invalid("no id"))
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A connection to Redis.
#[derive(Debug)]
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(at: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&at, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let stream = BufReader::with_capacity(1 << 16, stream);
        Ok(Self { stream })
    }

    fn call(&mut self, words: &[&str]) -> io::Result<Reply> {
        let mut bytes = Vec::new();
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        command(&mut bytes, &words);
        self.stream.get_mut().write_all(&bytes)?;
        self.reply()
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        let line = line
            .strip_suffix(b"\r\n")
            .ok_or_else(|| invalid("a cut line"))?;
        let (&kind, rest) = line.split_first().ok_or_else(|| invalid("an empty line"))?;
        let text = String::from_utf8_lossy(rest);
        let number = || text.parse::<i64>().map_err(|_| invalid("no number"));
        match kind {
            b'+' => Ok(Reply::Text(rest.to_vec())),
            b':' => Ok(Reply::Number(number()?)),
            b'$' => {
                let len = usize::try_from(number()?).unwrap_or(0);
                let mut bytes = vec![0; len + 2];
                if number()? >= 0 {
                    io::Read::read_exact(&mut self.stream, &mut bytes)?;
                }
                bytes.truncate(len);
                Ok(Reply::Text(bytes))
            }
            b'*' => {
                let n = number()?.max(0);
                (0..n)
                    .map(|_| self.reply())
                    .collect::<io::Result<_>>()
                    .map(Reply::Array)
            }
            _ => Err(invalid(&text)),
        }
    }
}

/// Appends a command.
fn command(bytes: &mut Vec<u8>, words: &[&[u8]]) {
    // Memory takes every write.
    let _memory = write!(bytes, "*{}\r\n", words.len());
    for word in words {
        let _memory = write!(bytes, "${}\r\n", word.len());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
}
