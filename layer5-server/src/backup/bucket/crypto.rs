//! SHA-256 for signatures, of the crates that name the chunks of a repository; the client's own would be C.
//! Called from: [`super::Bucket::open`].

use hmac::{Hmac, KeyInit as _, Mac as _};
use object_store::client::{
    CryptoProvider, DigestAlgorithm, DigestContext, HmacContext, Signer, SigningAlgorithm,
};
use sha2::{Digest as _, Sha256};

/// The provider.
#[derive(Debug)]
pub(super) struct Sha2;

impl CryptoProvider for Sha2 {
    fn digest(&self, algorithm: DigestAlgorithm) -> object_store::Result<Box<dyn DigestContext>> {
        match algorithm {
            DigestAlgorithm::Sha256 => Ok(Box::new(Hasher::<Sha256>::default())),
            _ => Err(not_implemented(&algorithm)),
        }
    }

    fn hmac(
        &self,
        algorithm: DigestAlgorithm,
        secret: &[u8],
    ) -> object_store::Result<Box<dyn HmacContext>> {
        if algorithm != DigestAlgorithm::Sha256 {
            return Err(not_implemented(&algorithm));
        }
        let state = Hmac::<Sha256>::new_from_slice(secret);
        let state = state.map_err(|_| not_implemented(&algorithm))?;
        Ok(Box::new(Hasher {
            state,
            out: Vec::new(),
        }))
    }

    fn sign(
        &self,
        algorithm: SigningAlgorithm,
        _pem: &[u8],
    ) -> object_store::Result<Box<dyn Signer>> {
        // Google's store wants this, Amazon's does not.
        Err(not_implemented(&algorithm))
    }
}

fn not_implemented(algorithm: &impl std::fmt::Debug) -> object_store::Error {
    object_store::Error::NotImplemented {
        operation: format!("{algorithm:?}"),
        implementer: "layer5".into(),
    }
}

/// A digest under way, and then its result.
#[derive(Default)]
struct Hasher<S> {
    state: S,
    out: Vec<u8>,
}

impl DigestContext for Hasher<Sha256> {
    fn update(&mut self, data: &[u8]) {
        self.state.update(data);
    }

    fn finish(&mut self) -> object_store::Result<&[u8]> {
        self.out = self.state.finalize_reset().to_vec();
        Ok(&self.out)
    }
}

impl HmacContext for Hasher<Hmac<Sha256>> {
    fn update(&mut self, data: &[u8]) {
        self.state.update(data);
    }

    fn finish(&mut self) -> object_store::Result<&[u8]> {
        self.out = self.state.clone().finalize().into_bytes().to_vec();
        Ok(&self.out)
    }
}
