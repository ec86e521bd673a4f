//! A webhook receiver that stands behind every receiver of Alertmanager's routes and keeps what each was told.
//! In: `POST /NAME` from Alertmanager. Out: [`Told`] messages, newest last. Called from: [`super::Lab`].
//! Invariants: what is kept is bounded; a call that can't be read is answered 400 and kept nowhere.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Instant,
};

use serde_json::Value;

/// Messages kept.
const TOLD_MAX: usize = 10_000;
/// Largest message, bytes.
const BODY_BYTES_MAX: usize = 4 << 20;

/// One alert in a message to one receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The receiver of the routes: `page`, `team`, ...
    pub receiver: String,
    /// The alert's name.
    pub alert: String,
    /// `firing` or `resolved`.
    pub status: String,
    /// Its labels.
    pub labels: Value,
    /// When the message came.
    pub at: Instant,
}

/// A running receiver; its thread ends with the process.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Receiver {
    /// Listens on a port of loopback, 0 for a free one.
    ///
    /// # Errors
    /// When the port can't be had.
    pub fn start(port: u16) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let receiver = Self {
            address: listener.local_addr()?,
            told: Arc::default(),
        };
        let shared = receiver.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = shared.clone();
                std::thread::spawn(move || while shared.take(&stream).is_some() {});
            }
        });
        Ok(receiver)
    }

    /// Everything told so far, or since a moment.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    #[must_use]
    pub fn told_since(&self, since: Instant) -> Vec<Told> {
        let told = self.told.lock().expect("no holder panics");
        told.iter().filter(|t| t.at >= since).cloned().collect()
    }

    /// One request of a kept connection; `None` at its end.
    fn take(&self, mut stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut first = String::new();
        reader.read_line(&mut first).ok().filter(|&n| n > 0)?;
        let name = first.split(' ').nth(1)?.trim_start_matches('/').to_owned();
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|&n| n > 0)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok().filter(|n| *n <= BODY_BYTES_MAX)?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let message: Value = serde_json::from_slice(&body).unwrap_or_default();
        let status = match self.keep(&name, &message) {
            Some(()) => "200 OK",
            None => "400 Bad Request",
        };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).ok()
    }

    fn keep(&self, receiver: &str, message: &Value) -> Option<()> {
        let alerts = message["alerts"].as_array()?;
        let mut told = self.told.lock().expect("no holder panics");
        for alert in alerts {
            if told.len() == TOLD_MAX {
                told.remove(0);
            }
            told.push(Told {
                receiver: receiver.to_owned(),
                alert: alert["labels"]["alertname"].as_str()?.to_owned(),
                status: alert["status"].as_str()?.to_owned(),
                labels: alert["labels"].clone(),
                at: Instant::now(),
            });
        }
        Some(())
    }
}
