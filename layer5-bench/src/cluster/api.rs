//! The HTTP side of the stand-in: discovery, and the verbs of the kinds that it has.
//! In: kubectl's requests. Out: objects, lists, watches of one event, statuses. Called from: the tests.
//! Invariants: every call is recorded before it is answered; a call that the test wants interrupted is carried out, and
//! then whoever made it is stopped before it hears of it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
    http::{HeaderMap, Method, Request, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime};

use super::{
    Trouble, exec,
    objects::{Objects, Refusal, list_of, status},
    workloads,
};

/// Largest body taken.
const BODY_BYTES_MAX: usize = 1 << 20;
/// How long a watch waits for something new.
const WATCH_PATIENCE: Duration = Duration::from_millis(300);
/// Groups with their kinds: resource, kind, namespaced.
const GROUPS: &[(&str, &[(&str, &str)])] = &[
    (
        "v1",
        &[
            ("namespaces", "Namespace"),
            ("pods", "Pod"),
            ("services", "Service"),
            ("events", "Event"),
            ("configmaps", "ConfigMap"),
        ],
    ),
    (
        "apps/v1",
        &[("deployments", "Deployment"), ("replicasets", "ReplicaSet")],
    ),
    ("batch/v1", &[("jobs", "Job"), ("cronjobs", "CronJob")]),
    ("coordination.k8s.io/v1", &[("leases", "Lease")]),
    (
        "authorization.k8s.io/v1",
        &[("selfsubjectaccessreviews", "SelfSubjectAccessReview")],
    ),
];

/// One call, as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `PATCH` and so on.
    pub method: String,
    /// Path and query.
    pub path: String,
}

impl Call {
    /// Whether it changes something.
    #[must_use]
    pub fn writes(&self) -> bool {
        let asks = self.path.contains("/exec?") || self.path.contains("selfsubjectaccessreviews");
        self.method != "GET" && !asks
    }
}

type OnWrite = Box<dyn FnMut(usize) + Send>;

struct Desk {
    objects: Objects,
    trouble: Trouble,
    /// What the live Deployment had at the beginning.
    old_image: String,
    calls: Vec<Call>,
    n_writes: usize,
    /// Called with its number after each write was carried out, before it is answered.
    on_write: Option<OnWrite>,
}

type Shared = Arc<Mutex<Desk>>;

fn lock(desk: &Shared) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running stand-in. Dropping it ends it.
pub struct Cluster {
    address: SocketAddr,
    desk: Shared,
    _runtime: Runtime,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// A cluster on a free port of loopback in which these objects (`resource`, object) are installed.
    ///
    /// # Errors
    /// When no port or thread can be had.
    pub fn start(
        installed: &[(&str, Value)],
        old_image: &str,
        trouble: Trouble,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let mut objects = Objects::default();
        let namespace = json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "project-chimera"}});
        objects.put("namespaces", namespace);
        for (resource, object) in installed {
            if *resource == "deployments" {
                workloads::reconcile(&mut objects, object.clone(), Trouble::None, old_image);
            } else {
                objects.put(resource, object.clone());
            }
        }
        let desk = Arc::new(Mutex::new(Desk {
            objects,
            trouble,
            old_image: old_image.to_owned(),
            calls: Vec::new(),
            n_writes: 0,
            on_write: None,
        }));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&desk));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Ok(Self {
            address,
            desk,
            _runtime: runtime,
        })
    }

    /// A configuration for kubectl.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: standin\nclusters:\n- name: standin\n  cluster: {{server: \"http://{}\"}}\ncontexts:\n- name: standin\n  context: {{cluster: standin, user: someone}}\nusers:\n- name: someone\n  user: {{}}\n",
            self.address
        )
    }

    /// Every call so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.desk).calls.clone()
    }

    /// The object as it is now.
    #[must_use]
    pub fn object(&self, resource: &str, name: &str) -> Option<Value> {
        lock(&self.desk).objects.get(resource, name).ok()
    }

    /// Puts an object as it is.
    pub fn put(&self, resource: &str, object: Value) {
        lock(&self.desk).objects.put(resource, object);
    }

    /// From here on this goes wrong.
    pub fn trouble(&self, trouble: Trouble) {
        lock(&self.desk).trouble = trouble;
    }

    /// Calls `f` with the number of each write (from 1, counted anew) once it was carried out, before it is answered.
    pub fn on_write(&self, f: impl FnMut(usize) + Send + 'static) {
        let mut desk = lock(&self.desk);
        desk.n_writes = 0;
        desk.on_write = Some(Box::new(f));
    }
}

async fn answer(State(desk): State<Shared>, mut request: Request<Body>) -> Response {
    let upgrade = request
        .headers()
        .contains_key(header::UPGRADE)
        .then(|| hyper::upgrade::on(&mut request));
    let (head, body) = request.into_parts();
    let path = head
        .uri
        .path_and_query()
        .map_or("", |p| p.as_str())
        .to_owned();
    let call = Call {
        method: head.method.to_string(),
        path,
    };
    let writes = call.writes();
    lock(&desk).calls.push(call);
    let body = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    let asked = Asked::new(
        &head.method,
        head.uri.path(),
        head.uri.query().unwrap_or_default(),
        &head.headers,
    );
    if let Some(upgrade) = upgrade {
        return exec_in(&desk, &asked, &head.headers, upgrade);
    }
    if asked.query("watch").is_some() {
        return watch(&desk, &asked).await;
    }
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let mut desk = lock(&desk);
    let answered = asked.answer(&mut desk, body);
    if writes {
        desk.n_writes += 1;
        let n = desk.n_writes;
        if let Some(f) = &mut desk.on_write {
            f(n);
        }
    }
    drop(desk);
    match answered {
        Ok(Value::String(text)) => text.into_response(),
        Ok(value) => json_answer(StatusCode::OK, &value),
        Err(refusal) => {
            let code = StatusCode::from_u16(refusal.0).expect("refusals have codes of HTTP");
            json_answer(code, &status(&refusal))
        }
    }
}

fn json_answer(code: StatusCode, value: &Value) -> Response {
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (code, content_type, value.to_string()).into_response()
}

/// One request, taken apart.
struct Asked {
    method: Method,
    /// The path behind the namespace: `deployments`, `layer5-refinement`, `scale`.
    parts: Vec<String>,
    path: String,
    api_version: String,
    query: Vec<(String, String)>,
    content_type: String,
}

impl Asked {
    fn new(method: &Method, path: &str, query: &str, headers: &HeaderMap) -> Self {
        let all: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (api_version, rest) = match all.as_slice() {
            ["api", version, rest @ ..] => ((*version).to_owned(), rest),
            ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
            _ => (String::new(), &[] as &[&str]),
        };
        let rest = match rest {
            ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
            rest => rest,
        };
        let content_type = headers.get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        Self {
            method: method.clone(),
            parts: rest.iter().map(|part| (*part).to_owned()).collect(),
            path: path.to_owned(),
            api_version,
            query: query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .map(|(key, value)| (key.to_owned(), unescaped(value)))
                .collect(),
            content_type: content_type.unwrap_or_default().to_owned(),
        }
    }

    fn query(&self, name: &str) -> Option<&str> {
        let pair = self.query.iter().find(|(key, _)| key == name);
        pair.map(|(_, value)| value.as_str())
    }

    fn kind(&self) -> &'static str {
        let of = |(resource, kind): &(&'static str, &'static str)| {
            (self.parts.first().map(String::as_str) == Some(*resource)).then_some(*kind)
        };
        let mut kinds = GROUPS.iter().flat_map(|(_, kinds)| kinds.iter());
        kinds.find_map(of).unwrap_or("Unknown")
    }

    fn selected(&self, desk: &Desk) -> Vec<Value> {
        let labels = self.query("labelSelector").unwrap_or_default();
        let fields = self.query("fieldSelector").unwrap_or_default();
        desk.objects.list(&self.parts[0], labels, fields)
    }

    fn answer(&self, desk: &mut Desk, body: Value) -> Result<Value, Refusal> {
        if let Some(page) = self.discovery() {
            return Ok(page);
        }
        let parts: Vec<&str> = self.parts.iter().map(String::as_str).collect();
        match (self.method.as_str(), parts.as_slice()) {
            ("POST", ["selfsubjectaccessreviews"]) => {
                let mut review = body;
                review["status"] = json!({"allowed": desk.trouble != Trouble::Forbidden});
                Ok(review)
            }
            ("GET", ["pods", _, "log"]) => Ok("layer5: no space left on device\n".into()),
            ("GET", [_]) => {
                let items = self.selected(desk);
                Ok(list_of(
                    self.kind(),
                    &self.api_version,
                    desk.objects.version(),
                    &items,
                ))
            }
            ("GET", [resource, name, ..]) => desk.objects.get(resource, name),
            ("POST", ["jobs"]) => {
                let job = workloads::finished(body, desk.trouble);
                desk.objects.create("jobs", job)
            }
            ("POST", [resource]) => desk.objects.create(resource, body),
            ("PUT", [resource, _]) => Ok(desk.objects.put(resource, body)),
            ("DELETE", [resource, name]) => desk.objects.remove(resource, name),
            ("PATCH", [resource, name]) => {
                let changed = desk
                    .objects
                    .patched(resource, name, &self.content_type, &body)?;
                if *resource != "deployments" {
                    return Ok(desk.objects.put(resource, changed));
                }
                let (trouble, old_image) = (desk.trouble, desk.old_image.clone());
                Ok(workloads::reconcile(
                    &mut desk.objects,
                    changed,
                    trouble,
                    &old_image,
                ))
            }
            _ => Err((
                404,
                "NotFound",
                format!("the server could not find {}", self.path),
            )),
        }
    }

    /// What kubectl asks before anything else: which kinds there are.
    fn discovery(&self) -> Option<Value> {
        let group_of = |version: &str| version.split_once('/').map(|(group, _)| group.to_owned());
        match self.path.trim_end_matches('/') {
            "/version" => Some(json!({"major": "1", "minor": "32", "gitVersion": "v1.32.0"})),
            "/api" => Some(json!({"kind": "APIVersions", "versions": ["v1"]})),
            "/apis" => {
                let groups: Vec<Value> = GROUPS
                    .iter()
                    .filter_map(|(version, _)| {
                        let group = group_of(version)?;
                        let version = json!({"groupVersion": version, "version": "v1"});
                        Some(json!({"name": group, "versions": [version], "preferredVersion": version}))
                    })
                    .collect();
                Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
            }
            path => {
                let version = path.strip_prefix("/apis/").or(path.strip_prefix("/api/"))?;
                let (_, kinds) = GROUPS.iter().find(|(known, _)| *known == version)?;
                let resources: Vec<Value> = kinds
                    .iter()
                    .map(|(resource, kind)| {
                        json!({
                            "name": resource, "singularName": kind.to_lowercase(), "kind": kind,
                            "namespaced": !["Namespace", "SelfSubjectAccessReview"].contains(kind),
                            "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
                        })
                    })
                    .collect();
                Some(
                    json!({"kind": "APIResourceList", "groupVersion": version, "resources": resources}),
                )
            }
        }
    }
}

/// Waits a little for a change, then tells what is selected now; the client watches again.
async fn watch(desk: &Shared, asked: &Asked) -> Response {
    let since: u64 = asked
        .query("resourceVersion")
        .and_then(|version| version.parse().ok())
        .unwrap_or(0);
    let began = Instant::now();
    while lock(desk).objects.version() <= since && began.elapsed() < WATCH_PATIENCE {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let desk = lock(desk);
    let newer = |object: &Value| {
        let version = object["metadata"]["resourceVersion"].as_str();
        version.and_then(|version| version.parse::<u64>().ok()) > Some(since)
    };
    let events: String = asked
        .selected(&desk)
        .into_iter()
        .filter(newer)
        .map(|object| json!({"type": "MODIFIED", "object": object}).to_string() + "\n")
        .collect();
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (content_type, events).into_response()
}

fn exec_in(
    desk: &Shared,
    asked: &Asked,
    headers: &HeaderMap,
    upgrade: hyper::upgrade::OnUpgrade,
) -> Response {
    let name = asked.parts.get(1).map_or("", String::as_str);
    let desk = lock(desk);
    let Ok(pod) = desk.objects.get("pods", name) else {
        let refusal = (404, "NotFound", format!("pods \"{name}\" not found"));
        return json_answer(StatusCode::NOT_FOUND, &status(&refusal));
    };
    let commands = asked.query.iter().filter(|(key, _)| key == "command");
    let command: Vec<String> = commands.map(|(_, word)| word.clone()).collect();
    let role = pod["metadata"]["labels"]["role"]
        .as_str()
        .unwrap_or_default();
    let is_new = pod["spec"]["containers"][0]["image"] != desk.old_image.as_str();
    let ran = exec::run(&command, role, is_new, desk.trouble);
    tokio::spawn(exec::send(upgrade, ran));
    let key = headers.get("sec-websocket-key");
    let key = key.and_then(|key| key.to_str().ok()).unwrap_or_default();
    let switched = [
        (header::CONNECTION, "Upgrade".to_owned()),
        (header::UPGRADE, "websocket".to_owned()),
        (header::SEC_WEBSOCKET_ACCEPT, exec::accept_of(key)),
        (
            header::SEC_WEBSOCKET_PROTOCOL,
            "v5.channel.k8s.io".to_owned(),
        ),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, switched).into_response()
}

/// `%3D` and `+` in a query.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit =
                    |byte: Option<u8>| (byte.unwrap_or(b'0') as char).to_digit(16).unwrap_or(0);
                let (high, low) = (digit(rest.next()), digit(rest.next()));
                (16 * high + low) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
