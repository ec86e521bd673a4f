//! A connection to the Redis that is the master: commands out, one whole reply at a time in.
//! In: addresses. Out: replies, borrowed from the connection's buffer. Called from: [`super::session`].
//! Why not the `redis` crate: a reply becomes a tree of small allocations there, which costs 1.3 us of CPU an entry
//! where the kernel's copy costs 0.2; docs/decisions has the figures.
//! Invariants: every wait has an end; the buffer holds at most one reply of the largest size and what came with it.

use std::{io, path::PathBuf, time::Duration};

use tokio::{
    net::TcpStream,
    time::{error::Elapsed, timeout},
};

use super::resp::{self, Frame, ReplyError, Walk};
use crate::{neighbours::CallKind, sources::SourceError};

/// What is read from the socket at once, at least.
const READ_BYTES: usize = 256 << 10;
/// A buffer that one large reply has blown up beyond this is given back.
const KEEP_BYTES: usize = 16 << 20;

/// Where a Redis is, and how to be let in.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    user: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
    database: u32,
}

impl Address {
    /// This address with a password, unless it has one of its own.
    #[must_use]
    pub fn with_password(&self, password: &str) -> Self {
        let mut address = self.clone();
        address
            .password
            .get_or_insert_with(|| password.as_bytes().to_vec());
        address
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "redis://{}:{}/{}", self.host, self.port, self.database)
    }
}

/// Why an address is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Not a URL.
    #[error("not a URL: {0}")]
    Url(String),
    /// Not `redis://`.
    #[error("`{0}://` is not spoken here, only redis://")]
    Scheme(String),
    /// No host.
    #[error("no host")]
    Host,
    /// A path that is not the number of a database.
    #[error("`/{0}` is not the number of a database")]
    Database(String),
}

/// The addresses in `url`, in their order.
///
/// # Errors
/// The first that is none.
pub fn addresses(url: &str) -> Result<Vec<Address>, AddressError> {
    url.split(',').map(|one| address(one.trim())).collect()
}

fn address(url: &str) -> Result<Address, AddressError> {
    let url = reqwest::Url::parse(url).map_err(|error| AddressError::Url(error.to_string()))?;
    if url.scheme() != "redis" {
        return Err(AddressError::Scheme(url.scheme().to_owned()));
    }
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or(AddressError::Host)?;
    let path = url.path().trim_start_matches('/');
    let database = match path {
        "" => 0,
        path => path
            .parse()
            .map_err(|_| AddressError::Database(path.to_owned()))?,
    };
    let user = url.username();
    Ok(Address {
        // Brackets belong to the URL of an IPv6 address, not to the address.
        host: host.trim_matches(['[', ']']).to_owned(),
        port: url.port().unwrap_or(6379),
        user: (!user.is_empty()).then(|| percent_decoded(user)),
        password: url.password().map(percent_decoded),
        database,
    })
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let (bytes, mut out, mut i) = (text.as_bytes(), Vec::new(), 0);
    while i < bytes.len() {
        let code = (bytes[i] == b'%')
            .then(|| u8::from_str_radix(text.get(i + 1..i + 3)?, 16).ok())
            .flatten();
        out.push(code.unwrap_or(bytes[i]));
        i += if code.is_some() { 3 } else { 1 };
    }
    out
}

/// Why Redis can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisError {
    /// The file of the password can't be read.
    #[error("cannot read {path} (sources.redis.password_file): {source}")]
    Password {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The socket failed.
    #[error("the connection to redis failed: {0}")]
    Socket(#[from] io::Error),
    /// It took too long.
    #[error("redis did not answer within sources.redis.timeout_seconds")]
    Slow(#[from] Elapsed),
    /// It closed the connection.
    #[error("redis closed the connection")]
    Closed,
    /// A reply that is none, or a refusal.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// None of the addresses is a master.
    #[error("{0:?} is a replica, and so are all others")]
    NoMaster(Address),
    /// What was read could not be made durable.
    #[error("what was read is not durable: the store does not take it now")]
    NotDurable,
    /// Nothing can be taken any more, or not in this form.
    #[error(transparent)]
    Take(#[from] crate::intake::TakeError),
}

impl SourceError for RedisError {
    fn kind(&self) -> CallKind {
        match self {
            Self::Slow(_) => CallKind::Timeout,
            Self::Socket(_) | Self::Closed | Self::Password { .. } => CallKind::Connection,
            Self::Reply(ReplyError::Refused(_)) | Self::NoMaster(_) => CallKind::Status,
            // What could not be stored was not Redis' fault, but has its place nowhere else.
            Self::Reply(_) | Self::NotDurable | Self::Take(_) => CallKind::Answer,
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// What came; beyond `filled` it is room.
    buffer: Vec<u8>,
    /// Where the next reply begins.
    next: usize,
    filled: usize,
    patience: Duration,
    reply_bytes_max: usize,
}

impl Connection {
    /// Connects to the first of `addresses` that is a master.
    pub(super) async fn open(
        addresses: &[Address],
        patience: Duration,
        reply_bytes_max: usize,
    ) -> Result<Self, RedisError> {
        let mut error = None;
        for address in addresses {
            match Self::open_one(address, patience, reply_bytes_max).await {
                Ok(connection) => return Ok(connection),
                Err(failed) => error = Some(failed),
            }
        }
        Err(error.unwrap_or(RedisError::Closed))
    }

    async fn open_one(
        address: &Address,
        patience: Duration,
        reply_bytes_max: usize,
    ) -> Result<Self, RedisError> {
        let connect = TcpStream::connect((address.host.as_str(), address.port));
        let stream = timeout(patience, connect).await??;
        stream.set_nodelay(true)?;
        let mut connection = Self {
            stream,
            buffer: Vec::new(),
            next: 0,
            filled: 0,
            patience,
            reply_bytes_max,
        };
        if let Some(password) = &address.password {
            match &address.user {
                Some(user) => connection.tell(&[b"AUTH", user, password]).await?,
                None => connection.tell(&[b"AUTH", password]).await?,
            }
        }
        if address.database != 0 {
            let database = address.database.to_string();
            connection.tell(&[b"SELECT", database.as_bytes()]).await?;
        }
        connection.send(&[b"ROLE"]).await?;
        let mut role = connection.reply().await?;
        // Who may not ask finds out at the first write.
        if let Ok(Some(_)) = role.array("a role")
            && role.text("a role")? == b"slave"
        {
            return Err(RedisError::NoMaster(address.clone()));
        }
        Ok(connection)
    }

    /// Sends a command whose reply only matters when it is an error.
    pub(super) async fn tell(&mut self, parts: &[&[u8]]) -> Result<(), RedisError> {
        self.send(parts).await?;
        Ok(self.reply().await?.accepted()?)
    }

    /// Sends a command.
    pub(super) async fn send(&mut self, parts: &[&[u8]]) -> Result<(), RedisError> {
        let mut out = Vec::new();
        resp::command(&mut out, parts);
        self.write(&out).await
    }

    /// Sends commands as they are.
    pub(super) async fn write(&mut self, mut commands: &[u8]) -> Result<(), RedisError> {
        let written = async {
            while !commands.is_empty() {
                self.stream.writable().await?;
                match self.stream.try_write(commands) {
                    Ok(n) => commands = &commands[n..],
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        Ok(timeout(self.patience, written).await??)
    }

    /// The next reply.
    pub(super) async fn reply(&mut self) -> Result<Walk<'_>, RedisError> {
        self.reply_within(self.patience).await
    }

    /// The next reply, waiting longer than usual.
    pub(super) async fn reply_within(
        &mut self,
        patience: Duration,
    ) -> Result<Walk<'_>, RedisError> {
        let length = timeout(patience, self.whole_reply()).await??;
        let start = self.next;
        self.next += length;
        Ok(Walk::new(&self.buffer[start..self.next]))
    }

    async fn whole_reply(&mut self) -> Result<usize, RedisError> {
        self.make_room();
        let mut frame = Frame::new();
        loop {
            let come = &self.buffer[self.next..self.filled];
            if frame.is_whole(come, self.reply_bytes_max)? {
                return Ok(frame.len());
            }
            if come.len() > self.reply_bytes_max {
                let limit = self.reply_bytes_max;
                return Err(ReplyError::TooLarge { limit }.into());
            }
            if self.buffer.len() - self.filled < READ_BYTES {
                let room = (self.buffer.len() * 2).max(self.filled + READ_BYTES);
                self.buffer.resize(room, 0);
            }
            self.stream.readable().await?;
            match self.stream.try_read(&mut self.buffer[self.filled..]) {
                Ok(0) => return Err(RedisError::Closed),
                Ok(n) => self.filled += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Moves what came with the last reply to the front.
    fn make_room(&mut self) {
        self.buffer.copy_within(self.next..self.filled, 0);
        self.filled -= self.next;
        self.next = 0;
        if self.buffer.len() > KEEP_BYTES && self.filled < READ_BYTES {
            self.buffer.truncate(READ_BYTES);
            self.buffer.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_all_parts_or_their_defaults() {
        let all = addresses("redis://me:p%40ss%2F@h:7/3, redis://[::1]").expect("two addresses");
        let expected = [
            Address {
                host: "h".into(),
                port: 7,
                user: Some(b"me".to_vec()),
                password: Some(b"p@ss/".to_vec()),
                database: 3,
            },
            Address {
                host: "::1".into(),
                port: 6379,
                user: None,
                password: None,
                database: 0,
            },
        ];
        assert_eq!(all, expected);
        assert!(!format!("{all:?}").contains("p@ss"));
    }

    #[test]
    fn what_is_no_address_is_said_so() {
        let error = |url: &str| addresses(url).expect_err(url);
        assert!(matches!(error("localhost"), AddressError::Url(_)));
        assert_eq!(error("rediss://h"), AddressError::Scheme("rediss".into()));
        assert_eq!(error("redis://h/x"), AddressError::Database("x".into()));
        assert_eq!(error("redis://"), AddressError::Host);
    }
}
