//! Who speaks to a bucket: from a file as Amazon's tools keep it, else from the environment as they read it.
//! In: the file's name. Out: credentials. Called from: [`super::bucket`].
//! Invariants: a secret appears in no message and no `Debug`.

use std::path::Path;

use object_store::aws::AmazonS3Builder;

use super::BackupError;

/// An access key.
pub(super) struct Credentials {
    id: String,
    secret: String,
    token: Option<String>,
}

impl Credentials {
    /// Of `file`, else of the environment.
    ///
    /// # Errors
    /// [`BackupError::Io`] when the file can't be read; [`BackupError::Key`] when an access key is not in it, or nowhere.
    pub(super) fn find(file: Option<&Path>) -> Result<Self, BackupError> {
        let Some(file) = file else {
            return Self::of(|key| std::env::var(key.to_ascii_uppercase()).ok()).ok_or_else(|| {
                BackupError::Key {
                    path: "s3".into(),
                    detail:
                        "no access key: set backup.s3_credentials_file, or AWS_ACCESS_KEY_ID and \
                             AWS_SECRET_ACCESS_KEY in the environment"
                            .into(),
                }
            });
        };
        let text = std::fs::read_to_string(file).map_err(BackupError::io(file))?;
        Self::of(|key| value(&text, key)).ok_or_else(|| BackupError::Key {
            path: file.to_owned(),
            detail: "expected lines aws_access_key_id = ... and aws_secret_access_key = ... below [default]".into(),
        })
    }

    fn of(value: impl Fn(&str) -> Option<String>) -> Option<Self> {
        Some(Self {
            id: value("aws_access_key_id")?,
            secret: value("aws_secret_access_key")?,
            token: value("aws_session_token"),
        })
    }

    /// `builder` with these.
    pub(super) fn give(self, builder: AmazonS3Builder) -> AmazonS3Builder {
        let builder = builder.with_access_key_id(self.id);
        let builder = builder.with_secret_access_key(self.secret);
        match self.token {
            Some(token) => builder.with_token(token),
            None => builder,
        }
    }
}

/// The value of `key` in the profile `default`, which also is what stands before any profile.
fn value(text: &str, key: &str) -> Option<String> {
    let mut is_default = true;
    for line in text.lines().map(str::trim) {
        if let Some(profile) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            is_default = profile.trim() == "default";
        } else if let Some((name, value)) = line.split_once('=')
            && is_default
            && name.trim() == key
            && !value.trim().is_empty()
        {
            return Some(value.trim().to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_profile_counts() {
        let text = "# mine\n[other]\naws_access_key_id = wrong\n\n[ default ]\naws_access_key_id=id\n\
                    aws_secret_access_key = se/cret==\n[third]\naws_session_token = no\n";
        let found = Credentials::of(|key| value(text, key)).expect("both are there");
        assert_eq!(
            (found.id, found.secret, found.token),
            ("id".into(), "se/cret==".into(), None)
        );
        for text in [
            "",
            "[default]\naws_access_key_id = id\n",
            "[x]\naws_access_key_id=a\naws_secret_access_key=b",
        ] {
            assert!(Credentials::of(|key| value(text, key)).is_none(), "{text}");
        }
        let bare = "aws_access_key_id = a\naws_secret_access_key = b";
        assert!(Credentials::of(|key| value(bare, key)).is_some());
    }
}
