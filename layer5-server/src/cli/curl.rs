//! The part of `curl` that the operations guide uses, for an image that has no other program in it.
//! In: the arguments of a process that was started by the name `curl`: the image has a link of that name to `layer5`.
//! Out: the answer's body on standard output; curl's own exit codes and messages. Called from: [`super::run`].
//! Invariants: what is not understood is refused (exit 2), never passed over; nothing is followed and nothing is retried.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read, Write},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use reqwest::{Method, Response, Url};

/// Ask an HTTP server, as `curl` does: the options that the guide and the runbook use.
///
/// This is `layer5` by another name, not curl: no TLS, no redirects, one address.
#[derive(Debug, Parser)]
#[command(name = "curl", version)]
struct CurlArgs {
    /// What to ask; `http://` may be left out
    url: String,
    /// Show no message about failures
    #[arg(short, long)]
    silent: bool,
    /// Show messages even with --silent
    #[arg(short = 'S', long)]
    show_error: bool,
    /// Exit 22 on answers of 400 and above, without their body
    #[arg(short, long)]
    fail: bool,
    /// Write the body to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write this behind the body: %{http_code}, %{time_total}, %{size_download}, %{content_type}, \n
    #[arg(short, long, value_name = "FORMAT")]
    write_out: Option<String>,
    /// Show the head of the answer too
    #[arg(short, long)]
    include: bool,
    /// Ask for the head alone
    #[arg(short = 'I', long)]
    head: bool,
    /// A header to send, `Name: value`
    #[arg(short = 'H', long, value_name = "HEADER")]
    header: Vec<String>,
    /// The method; without it GET, or POST with --data
    #[arg(short = 'X', long, value_name = "METHOD")]
    request: Option<String>,
    /// A body to send; `@FILE` reads it from a file, `@-` from standard input
    #[arg(short, long, visible_alias = "data-binary", value_name = "DATA")]
    data: Option<String>,
    /// Longest time for all of it, s
    #[arg(short, long, value_name = "SECONDS", default_value_t = 300.0)]
    max_time: f64,
}

/// Why there is no answer, with curl's exit code.
#[derive(Debug)]
struct Trouble(u8, String);

/// Whether this process was started by the name `curl`.
pub(super) fn is_asked(name: Option<OsString>) -> bool {
    name.is_some_and(|name| PathBuf::from(name).file_name().is_some_and(|n| n == "curl"))
}

pub(super) fn run() -> ExitCode {
    let args = CurlArgs::parse();
    let asked = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Trouble(27, format!("no runtime: {error}")))
        .and_then(|runtime| runtime.block_on(ask(&args)));
    match asked {
        Ok(()) => ExitCode::SUCCESS,
        Err(Trouble(code, message)) => {
            if !args.silent || args.show_error {
                let _closed = writeln!(io::stderr(), "curl: ({code}) {message}");
            }
            code.into()
        }
    }
}

async fn ask(args: &CurlArgs) -> Result<(), Trouble> {
    let url = address(&args.url)?;
    let method = method(args)?;
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("layer5-curl/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Trouble(2, error.to_string()))?;
    let patience = Duration::try_from_secs_f64(args.max_time)
        .map_err(|_| Trouble(2, format!("--max-time {} is no time", args.max_time)))?;
    let mut request = client.request(method, url.clone()).timeout(patience);
    for header in &args.header {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| Trouble(2, format!("header {header:?} is not `Name: value`")))?;
        request = request.header(name.trim(), value.trim());
    }
    if let Some(data) = &args.data {
        let named = |header: &String| header.to_lowercase().starts_with("content-type:");
        if !args.header.iter().any(named) {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        request = request.body(body(data)?);
    }
    let began = Instant::now();
    let answer = request.send().await.map_err(|e| trouble(&e, &url))?;
    show(args, &url, answer, began).await
}

fn address(text: &str) -> Result<Url, Trouble> {
    let whole = match text.contains("://") {
        true => text.to_owned(),
        false => format!("http://{text}"),
    };
    let url = Url::parse(&whole).map_err(|e| Trouble(3, format!("URL {text:?}: {e}")))?;
    match url.scheme() {
        "http" => Ok(url),
        other => Err(Trouble(
            1,
            format!("Protocol \"{other}\" is not supported; this curl is layer5, without TLS"),
        )),
    }
}

fn method(args: &CurlArgs) -> Result<Method, Trouble> {
    match &args.request {
        Some(name) => name
            .parse()
            .map_err(|_| Trouble(2, format!("{name:?} is no method"))),
        None if args.head => Ok(Method::HEAD),
        None if args.data.is_some() => Ok(Method::POST),
        None => Ok(Method::GET),
    }
}

fn body(data: &str) -> Result<Vec<u8>, Trouble> {
    let unreadable = |e: io::Error| Trouble(26, format!("cannot read {data}: {e}"));
    let mut bytes = Vec::new();
    match data.strip_prefix('@') {
        None => bytes.extend_from_slice(data.as_bytes()),
        Some("-") => {
            io::stdin().read_to_end(&mut bytes).map_err(unreadable)?;
        }
        Some(path) => {
            let mut file = File::open(path).map_err(unreadable)?;
            file.read_to_end(&mut bytes).map_err(unreadable)?;
        }
    }
    Ok(bytes)
}

/// Writes the answer as it comes.
async fn show(
    args: &CurlArgs,
    url: &Url,
    mut answer: Response,
    began: Instant,
) -> Result<(), Trouble> {
    let status = answer.status();
    let unwritable = |e: io::Error| Trouble(23, format!("Failed writing body: {e}"));
    let mut out: Box<dyn Write> = match &args.output {
        Some(path) => Box::new(File::create(path).map_err(unwritable)?),
        None => Box::new(io::stdout()),
    };
    let refused = args.fail && status.as_u16() >= 400;
    if args.include || args.head {
        let mut head = format!("{:?} {status}\r\n", answer.version());
        for (name, value) in answer.headers() {
            head += &format!("{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes()));
        }
        head += "\r\n";
        out.write_all(head.as_bytes()).map_err(unwritable)?;
    }
    let kind = answer.headers().get("content-type");
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.to_owned();
    let mut size = 0;
    while let Some(piece) = answer.chunk().await.map_err(|e| trouble(&e, url))? {
        size += piece.len();
        if !refused {
            out.write_all(&piece).map_err(unwritable)?;
        }
    }
    out.flush().map_err(unwritable)?;
    if let Some(format) = &args.write_out {
        let told = format
            .replace("%{http_code}", status.as_str())
            .replace("%{response_code}", status.as_str())
            .replace("%{size_download}", &size.to_string())
            .replace("%{content_type}", &kind)
            .replace(
                "%{time_total}",
                &format!("{:.6}", began.elapsed().as_secs_f64()),
            )
            .replace("\\n", "\n")
            .replace("\\t", "\t");
        super::print(&told);
    }
    if refused {
        let told = format!("The requested URL returned error: {}", status.as_u16());
        return Err(Trouble(22, told));
    }
    Ok(())
}

/// Which of curl's exit codes a failure is.
fn trouble(error: &reqwest::Error, url: &Url) -> Trouble {
    let host = url.host_str().unwrap_or_default();
    let mut cause: &dyn std::error::Error = error;
    let mut refused = false;
    while let Some(source) = cause.source() {
        cause = source;
        let io = cause.downcast_ref::<io::Error>();
        refused |= io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused);
    }
    let words = cause.to_string();
    if error.is_timeout() {
        return Trouble(28, "Operation timed out".to_owned());
    }
    if error.is_builder() {
        return Trouble(2, words);
    }
    if error.is_connect() {
        let resolved = refused || host.parse::<std::net::IpAddr>().is_ok();
        if !resolved && (words.contains("lookup") || words.contains("resolve")) {
            return Trouble(6, format!("Could not resolve host: {host}"));
        }
        let port = url.port_or_known_default().unwrap_or(80);
        return Trouble(
            7,
            format!("Failed to connect to {host} port {port}: {words}"),
        );
    }
    match error.is_body() || error.is_decode() {
        true => Trouble(18, format!("transfer closed before its end: {words}")),
        false => Trouble(52, format!("Empty reply from server: {words}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_options_are_consistent_and_short_ones_can_be_joined() {
        CurlArgs::command().debug_assert();
        let args = CurlArgs::try_parse_from([
            "curl",
            "-sfo",
            "/dev/null",
            "-w",
            "x",
            "localhost:9090/metrics",
        ]);
        let args = args.expect("as curl is called");
        assert!(args.silent && args.fail && args.output.is_some());
        let unknown = CurlArgs::try_parse_from(["curl", "--no-such", "x"]);
        assert_eq!(unknown.expect_err("unknown").exit_code(), 2);
    }

    #[test]
    fn the_name_decides() {
        for (name, is) in [
            ("curl", true),
            ("/usr/bin/curl", true),
            ("layer5", false),
            ("/curl/layer5", false),
        ] {
            assert_eq!(is_asked(Some(name.into())), is, "{name}");
        }
    }

    #[test]
    fn addresses_without_a_scheme_are_http_and_others_are_refused() {
        let good = address("localhost:9090/metrics").expect("an address");
        assert_eq!(good.as_str(), "http://localhost:9090/metrics");
        assert_eq!(address("https://x/").expect_err("no TLS").0, 1);
        assert_eq!(address("http://[").expect_err("no URL").0, 3);
    }
}
