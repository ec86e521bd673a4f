//! HAProxy in front of blue and green: one address for the senders, whichever of them serves.
//! In: the ports of both. Out: requests go to one of them; they wait while there is none, and are sent again when the one
//! they went to has gone. Called from: [`super::local`].
//! Invariants: a request goes to the server that was named last; nothing of it listens beyond loopback.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::net::TcpStream;

use super::instance::Color;
use crate::cli::Failure;

/// How long HAProxy may take to start.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// A running HAProxy. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Proxy {
    process: Child,
    socket: PathBuf,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

impl Proxy {
    /// Starts `program` in `folder`; green serves first.
    pub(super) async fn start(
        program: &Path,
        folder: &Path,
        port: u16,
        instance_port: impl Fn(Color) -> u16,
    ) -> Result<Self, Failure> {
        let (config, socket) = (folder.join("haproxy.cfg"), folder.join("haproxy.sock"));
        let text = configuration(&socket, port, instance_port);
        let failed = |e: std::io::Error| {
            let detail = format!(
                "{} can't be run: {e}; install haproxy, or say where it is with --haproxy",
                program.display()
            );
            Failure::new(69, detail)
        };
        std::fs::write(&config, text).map_err(failed)?;
        let process = Command::new(program)
            .arg("-db")
            .arg("-f")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut proxy = Self {
            process,
            socket,
            address,
        };
        let began = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            if let Ok(Some(status)) = proxy.process.try_wait() {
                return Err(Failure::new(69, format!("haproxy ended with {status}")));
            }
            if began.elapsed() > START_PATIENCE {
                return Err(Failure::new(69, "haproxy does not listen"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(proxy)
    }

    /// New requests go to `color` from here on.
    pub(super) fn send_to(&self, color: Color) -> Result<(), Failure> {
        self.tell(&format!("set server layer5/{color} state ready"))?;
        let other = color.other();
        self.tell(&format!("set server layer5/{other} state maint"))?;
        Ok(())
    }

    /// Requests under way at `color`.
    pub(super) fn under_way(&self, color: Color) -> Result<u64, Failure> {
        let page = self.tell("show stat")?;
        let mut lines = page.lines();
        let names: Vec<&str> = lines
            .next()
            .unwrap_or_default()
            .trim_start_matches("# ")
            .split(',')
            .collect();
        let place = |name| names.iter().position(|&n| n == name).unwrap_or(usize::MAX);
        let (server, current) = (place("svname"), place("scur"));
        let row = lines
            .map(|line| line.split(',').collect::<Vec<_>>())
            .find(|row| row.get(server) == Some(&color.as_str()));
        row.and_then(|row| row.get(current)?.parse().ok())
            .ok_or_else(|| Failure::new(1, format!("haproxy does not know {color}")))
    }

    fn tell(&self, command: &str) -> Result<String, Failure> {
        // A few lines over a socket of this machine: not worth a task.
        let said = || {
            let mut socket = UnixStream::connect(&self.socket)?;
            socket.set_read_timeout(Some(START_PATIENCE))?;
            socket.write_all(format!("{command}\n").as_bytes())?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        };
        said().map_err(|e| Failure::new(1, format!("haproxy does not answer: {e}")))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

fn configuration(socket: &Path, port: u16, instance_port: impl Fn(Color) -> u16) -> String {
    let server = |color: Color, rest: &str| {
        format!(
            "  server {color} 127.0.0.1:{}{rest}\n",
            instance_port(color)
        )
    };
    format!(
        "global
  stats socket {} mode 600 level admin
  # Requests are kept until they are answered, so that they can be sent again.
  tune.bufsize 65536
defaults
  mode http
  timeout connect 200ms
  timeout client 60s
  timeout server 60s
  timeout queue 60s
  option http-buffer-request
  # What meets nobody waits and tries again, twenty seconds in all; reports carry keys, so a repeat changes nothing.
  retries 100
  option redispatch 1
  retry-on conn-failure empty-response
frontend senders
  bind 127.0.0.1:{port}
  default_backend layer5
backend layer5
  option http-server-close
  http-reuse never
{}{}",
        socket.display(),
        server(Color::Green, ""),
        server(Color::Blue, " disabled"),
    )
}
