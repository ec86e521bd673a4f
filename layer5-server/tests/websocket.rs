//! Layer4's WebSocket as a source, from a server on a real socket that misbehaves: pieces, pings, messages that are too
//! long or no reports, masked frames, ends of every kind, silence. What is good is stored once, the rest is refused by
//! itself, and the connection is made anew.

mod service;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use service::{DEADLINE, Service, finished_task, recent_second, until};

/// Layer4's side: connections as they are made, past their handshake.
struct Layer4 {
    at: SocketAddr,
    connections: Receiver<TcpStream>,
}

impl Layer4 {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let at = listener.local_addr().expect("bound");
        let (made, connections) = channel();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                if greet(&mut stream).is_some() && made.send(stream).is_err() {
                    return;
                }
            }
        });
        Self { at, connections }
    }

    /// The next connection.
    fn connected(&self) -> Connection {
        let stream = self.connections.recv_timeout(DEADLINE);
        let stream = stream.expect("layer5 connects");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        Connection(stream)
    }

    fn house(&self, folder: &std::path::Path) -> Service {
        let url = format!("ws://{}/kpi/stream?fleet=1", self.at);
        Service::start_with(
            &folder.join("data"),
            &[
                ("SOURCES__WEBSOCKET__URL", &url),
                ("SOURCES__WEBSOCKET__IDLE_SECONDS", "1.0"),
                ("SOURCES__WEBSOCKET__MESSAGE_BYTES_MAX", "10000"),
            ],
            None,
        )
    }
}

/// Answers the handshake; `None` when there was none.
fn greet(stream: &mut TcpStream) -> Option<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).ok()?;
    assert!(request.starts_with("GET /kpi/stream?fleet=1 HTTP/1.1\r\n"));
    assert!(request.contains("Sec-WebSocket-Version: 13\r\n"));
    let key = request.split("Sec-WebSocket-Key: ").nth(1)?;
    let key = key.split("\r\n").next()?;
    let joined = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let proof = BASE64_STANDARD.encode(sha1_smol::Sha1::from(joined).digest().bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {proof}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).ok()
}

struct Connection(TcpStream);

impl Connection {
    fn send(&mut self, bytes: &[u8]) {
        // Whoever refused what came before may have closed already.
        let _gone = self.0.write_all(bytes);
    }

    /// One message, in pieces of `cut`.
    fn message(&mut self, text: &str, cut: usize) {
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(cut).collect();
        for (i, piece) in pieces.iter().enumerate() {
            let opcode = u8::from(i == 0);
            let fin = if i + 1 == pieces.len() { 0x80 } else { 0 };
            self.send(&frame(fin | opcode, piece));
        }
    }

    /// The next frame of the client: opcode and unmasked bytes; `None` when it closed the socket.
    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 6];
        self.0.read_exact(&mut head).ok()?;
        assert!(head[0] & 0x80 != 0, "a control frame is whole");
        assert!(head[1] & 0x80 != 0, "a client masks");
        let mut bytes = vec![0; usize::from(head[1] & 0x7f)];
        self.0.read_exact(&mut bytes).ok()?;
        let masked = bytes.iter_mut().zip(head[2..].iter().cycle());
        masked.for_each(|(byte, mask)| *byte ^= mask);
        Some((head[0] & 0x0f, bytes))
    }

    /// Waits until the client closes the socket; the code that it said before, if it did.
    fn closed(&mut self) -> Option<u16> {
        let mut code = None;
        while let Some((opcode, bytes)) = self.frame() {
            if opcode == 8 {
                code = bytes.first_chunk().map(|code| u16::from_be_bytes(*code));
            }
        }
        code
    }
}

fn frame(first: u8, bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match bytes.len() {
        len @ 0..=125 => frame.push(len as u8),
        len => {
            frame.push(126);
            frame.extend((len as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(bytes);
    frame
}

fn report(n: usize) -> String {
    finished_task("agent_ws", &format!("t-{n}"), &json!(recent_second())).to_string()
}

fn stored(service: &Service) -> u64 {
    let stored = service.status()["reports"]["stored"].as_u64();
    stored.expect("a count")
}

#[track_caller]
fn all_arrive(service: &Service, n: u64) {
    until("every report is stored", || {
        (stored(service) >= n).then_some(())
    });
    assert_eq!(stored(service), n);
}

fn link(service: &Service) -> Value {
    let health = service.get("/health/integrations").json(200);
    let neighbours = health["neighbours"].as_array().expect("a list").clone();
    let found = neighbours
        .into_iter()
        .find(|n| n["name"] == "layer4_stream");
    found.expect("the source is on")
}

#[test]
fn reports_come_in_one_piece_or_many_and_what_is_none_is_refused_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let layer4 = Layer4::open();
    let service = layer4.house(folder.path());
    let mut connection = layer4.connected();
    let first_report = report(0);
    connection.message(&first_report, 1 << 16);
    for n in 1..100 {
        connection.message(&report(n), 1 << 16);
    }
    connection.message(&report(100), 7);
    // Pretty-printed, and in the midst of it a ping.
    let pretty: Value = serde_json::from_str(&report(101)).expect("JSON");
    let pretty = serde_json::to_string_pretty(&pretty).expect("JSON");
    let (first, rest) = pretty.as_bytes().split_at(20);
    connection.send(&frame(0x01, first));
    connection.send(&frame(0x89, b"are you there"));
    connection.send(&frame(0x80, rest));
    let (opcode, bytes) = connection.frame().expect("an answer to the ping");
    assert_eq!((opcode, &bytes[..]), (10, &b"are you there"[..]));
    for poison in [
        &b"no report"[..],
        b"\xff\xfe",
        b"",
        b"[",
        b"{\"a\":\"\xc3\"}",
    ] {
        connection.send(&frame(0x81, poison));
    }
    connection.send(&frame(0x82, report(102).as_bytes()));
    connection.message(&first_report, 1 << 16);
    connection.message(&report(103), 1 << 16);
    all_arrive(&service, 104);
    assert_eq!(link(&service)["up"], true);
    until("what is no report is counted, and what came twice", || {
        let reports = &service.status()["reports"];
        let by_reason = reports["rejected"].as_object()?.values();
        let rejected = by_reason.filter_map(Value::as_u64).sum::<u64>();
        (rejected == 5 && reports["duplicates"] == 1).then_some(())
    });
    // The page is a second old at times.
    let page = until("the source is on the page", || {
        let page = service.metrics_page();
        let is_there = page.contains("layer5_kpi_ingest_lag_seconds{source=\"websocket\"}");
        is_there.then_some(page)
    });
    assert!(page.contains("layer5_kpi_received_total{source=\"websocket\"}"));
    assert!(page.contains("layer5_integration_up{target=\"layer4_stream\"} 1"));
}

#[test]
fn whatever_ends_a_connection_another_one_is_made_and_http_does_not_notice() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let layer4 = Layer4::open();
    let service = layer4.house(folder.path());
    let endings: [(&str, Vec<u8>, Option<u16>); 6] = [
        ("a close", frame(0x88, &1001_u16.to_be_bytes()), Some(1001)),
        ("too long", [0x81, 126, 0xff, 0xff].to_vec(), Some(1009)),
        (
            "4 GiB",
            [0x81, 127, 0, 0, 0, 1, 0, 0, 0, 0].to_vec(),
            Some(1009),
        ),
        (
            "a masked frame",
            [0x81, 0x80, 1, 2, 3, 4].to_vec(),
            Some(1002),
        ),
        ("a reserved bit", vec![0xc1, 0], Some(1002)),
        ("a piece of nothing", frame(0x80, b"x"), Some(1002)),
    ];
    let mut n = 0;
    for (what, bytes, code) in endings {
        let mut connection = layer4.connected();
        connection.message(&report(n), 1 << 16);
        n += 1;
        // What came before the end counts.
        connection.send(&bytes);
        assert_eq!(connection.closed(), code, "{what}");
        all_arrive(&service, n as u64);
    }
    // The socket just ends.
    drop(layer4.connected());
    // Nothing comes any more, not even an answer to a ping.
    let mut silent = layer4.connected();
    let (opcode, _) = silent.frame().expect("it asks whether we are there");
    assert_eq!(opcode, 9);
    assert_eq!(silent.closed(), None, "it gives up");
    // Whoever answers stays connected.
    let mut connection = layer4.connected();
    for _ in 0..3 {
        assert_eq!(connection.frame().map(|(opcode, _)| opcode), Some(9));
        connection.send(&frame(0x8a, b""));
    }
    connection.message(&report(n), 1 << 16);
    all_arrive(&service, n as u64 + 1);
    // Six endings, a socket that was dropped, and the silence.
    assert_eq!(link(&service)["errors"], 8);
    let pushed = finished_task("pushed", "t", &json!(recent_second()));
    assert_eq!(service.post("/kpi", &pushed).json(200)["accepted"], 1);
}

#[test]
fn who_is_no_websocket_is_down_and_tried_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = listener.local_addr().expect("bound");
    let layer4 = Layer4 {
        at,
        connections: channel().1,
    };
    let mut service = layer4.house(folder.path());
    let answers = [
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: bm8=\r\n\r\n".to_owned(),
        "x".repeat(40_000),
    ];
    for answer in answers {
        let (mut stream, _) = listener.accept().expect("layer5 connects");
        // It may have seen enough before all of it was written.
        let _gone = stream.write_all(answer.as_bytes());
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        let mut rest = Vec::new();
        let _gone = stream.read_to_end(&mut rest);
        until("it is seen to be down", || {
            (link(&service)["up"] == false).then_some(())
        });
    }
    // It stops at once, whatever it waits for.
    let began = std::time::Instant::now();
    service.terminate();
    assert!(began.elapsed() < Duration::from_secs(30));
}
