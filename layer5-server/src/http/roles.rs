//! Who may call what: bearer tokens with a role, and a role on every route.
//! In: the tokens file and a request's `Authorization`. Out: pass, or 401/403.
//! Invariants: tokens are compared in constant time and never logged; without a tokens file every caller is an
//! operator, and then the config allows loopback only.

use std::path::Path;

use axum::http::{HeaderMap, StatusCode, header};

use super::problem::Problem;

/// What a caller may do; each role may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Health probes: anybody.
    Anyone,
    /// Look.
    Reader,
    /// Send reports and outcomes.
    Sender,
    /// Everything.
    Operator,
}

/// The tokens that are accepted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens {
    accepted: Vec<(Token, Role)>,
}

#[derive(Clone)]
struct Token(Vec<u8>);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Why a tokens file is refused. No message shows a token.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The file can't be read.
    #[error("cannot read auth.tokens_file {path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line is not `role token`.
    #[error(
        "{path}:{line}: expected `role token` with role reader, sender or operator and a token of 16 bytes or more"
    )]
    Line {
        /// Which file.
        path: String,
        /// 1-based line.
        line: usize,
    },
}

impl Tokens {
    /// Reads a file with one `role token` a line; blank lines and lines that begin with `#` are skipped.
    pub(crate) fn read(path: &Path) -> Result<Self, TokensError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| TokensError::Read {
            path: shown.clone(),
            source,
        })?;
        Self::parse(&shown, &text)
    }

    fn parse(path: &str, text: &str) -> Result<Self, TokensError> {
        let mut accepted = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let role = match line.split_once(char::is_whitespace) {
                Some(("reader", token)) => Some((token, Role::Reader)),
                Some(("sender", token)) => Some((token, Role::Sender)),
                Some(("operator", token)) => Some((token, Role::Operator)),
                _ => None,
            };
            match role {
                Some((token, role)) if token.trim().len() >= 16 => {
                    accepted.push((Token(token.trim().as_bytes().to_vec()), role));
                }
                _ => {
                    return Err(TokensError::Line {
                        path: path.into(),
                        line: i + 1,
                    });
                }
            }
        }
        Ok(Self { accepted })
    }

    /// Whether the caller with these headers may do what `needed` may.
    pub(crate) fn admit(&self, headers: &HeaderMap, needed: Role) -> Result<(), Problem> {
        if needed == Role::Anyone || self.accepted.is_empty() {
            return Ok(());
        }
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        let role = given.and_then(|given| {
            self.accepted
                .iter()
                .filter(|(t, _)| same(&t.0, given))
                .map(|(_, role)| *role)
                .max()
        });
        match role {
            Some(role) if role >= needed => Ok(()),
            Some(role) => {
                let detail = format!("this call needs the role {needed:?}, the token has {role:?}");
                Err(Problem::new(StatusCode::FORBIDDEN, "not allowed", detail))
            }
            None => {
                let detail =
                    "send `Authorization: Bearer <token>` with a token of auth.tokens_file";
                Err(Problem::new(
                    StatusCode::UNAUTHORIZED,
                    "who are you",
                    detail,
                ))
            }
        }
    }
}

/// Whether the bytes are equal, in a time that depends on the lengths alone.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |acc, (x, y)| acc | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(token: &str) -> HeaderMap {
        let value = format!("Bearer {token}").parse().expect("ascii");
        [(header::AUTHORIZATION, value)].into_iter().collect()
    }

    #[test]
    fn a_role_opens_its_own_doors_and_the_lower_ones() {
        let tokens = Tokens::parse(
            "t",
            "# two\nreader rrrrrrrrrrrrrrrr\noperator oooooooooooooooo\n",
        )
        .expect("well formed");
        let status =
            |headers: &HeaderMap, role| tokens.admit(headers, role).err().map(|p| p.status);
        let reader = bearer("rrrrrrrrrrrrrrrr");
        assert_eq!(status(&reader, Role::Reader), None);
        assert_eq!(status(&reader, Role::Sender), Some(StatusCode::FORBIDDEN));
        assert_eq!(status(&bearer("oooooooooooooooo"), Role::Sender), None);
        assert_eq!(
            status(&bearer("x"), Role::Reader),
            Some(StatusCode::UNAUTHORIZED)
        );
        assert_eq!(status(&HeaderMap::new(), Role::Anyone), None);
        assert_eq!(
            Tokens::default().admit(&HeaderMap::new(), Role::Operator),
            Ok(())
        );
    }

    #[test]
    fn a_bad_line_is_named_without_its_token() {
        let error = Tokens::parse("t", "reader short").expect_err("too short");
        assert!(error.to_string().contains("t:1:") && !error.to_string().contains("short\""));
    }
}
