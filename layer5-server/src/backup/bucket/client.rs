//! The HTTP client of the rest of the service, as the client of a bucket wants one.
//! In: signed requests. Out: answers, as they come. Called from: [`super::Bucket::open`].
//! Invariants: a redirect is an answer, for its signature would be wrong elsewhere; a request ends within its time.

use std::time::Duration;

use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use reqwest::{Client, redirect::Policy};

/// Makes clients without TLS.
#[derive(Debug)]
pub(super) struct PlainHttp {
    /// Longest time of one request.
    pub(super) timeout: Duration,
}

impl HttpConnector for PlainHttp {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = Client::builder()
            .redirect(Policy::none())
            .timeout(self.timeout)
            .build();
        let client = client.map_err(|error| object_store::Error::Generic {
            store: "s3",
            source: Box::new(error),
        })?;
        Ok(HttpClient::new(Plain(client)))
    }
}

#[derive(Debug)]
struct Plain(Client);

#[async_trait::async_trait]
impl HttpService for Plain {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (head, body) = request.into_parts();
        let request = self.0.request(head.method, head.uri.to_string());
        let bytes = axum::body::to_bytes(axum::body::Body::new(body), usize::MAX).await;
        let bytes = bytes.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let answer = request.headers(head.headers).body(bytes).send().await;
        let answer = answer.map_err(failed)?;
        let mut response = HttpResponse::new(HttpResponseBody::from(Vec::new()));
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        *response.body_mut() = answer.bytes().await.map_err(failed)?.into();
        Ok(response)
    }
}

fn failed(error: reqwest::Error) -> HttpError {
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_decode() || error.is_body() {
        HttpErrorKind::Interrupted
    } else {
        HttpErrorKind::Request
    };
    HttpError::new(kind, error)
}
