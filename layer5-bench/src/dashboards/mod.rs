//! The Grafana dashboards as data, and the JSON that Grafana loads.
//! In: [`boards::BOARDS`]. Out: `deploy/grafana/dashboards/*.json`; a test compares the files with this and writes them anew
//! with `LAYER5_BLESS=1`. Called from: `tests/dashboards.rs`.
//! Invariants: every panel has a description and a unit; every query filters by job, instance and colour; a panel of an alert
//! names it, and links to its section of the runbook.

pub mod boards;
pub mod command;
pub mod picture;

use serde_json::{Value, json};

/// Where the runbook is read.
pub const RUNBOOK: &str = "https://wiki.company.com/layer5-runbook";

/// Filters that every selector carries, written `$F` in the queries of [`boards`].
pub const FILTER: &str = r#"job=~"$job",instance=~"$instance",color=~"$color""#;

/// How a panel draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// Lines over time.
    Lines,
    /// One number with a colour.
    Number,
    /// Counts by size over time.
    Heatmap,
}

/// One panel.
#[derive(Clone, Copy, Debug)]
pub struct Panel {
    /// Unique within its board.
    pub title: &'static str,
    /// What it shows and when it is odd.
    pub description: &'static str,
    /// How it draws.
    pub draw: Draw,
    /// Grafana's unit: `s`, `percentunit`, `short`, `bytes`, `reqps`.
    pub unit: &'static str,
    /// Queries with their legends; `$F` stands for [`FILTER`].
    pub queries: &'static [(&'static str, &'static str)],
    /// The value where it turns red, drawn as a line.
    pub limit: Option<f64>,
    /// The alert that watches the same.
    pub alert: Option<&'static str>,
}

/// One dashboard.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    /// Its address in Grafana, and the name of its file.
    pub uid: &'static str,
    /// As people read it.
    pub title: &'static str,
    /// What it answers.
    pub description: &'static str,
    /// From the top left, two in a row, numbers six in a row.
    pub panels: &'static [Panel],
}

/// A query of a panel as Grafana sends it once its variables have values: all jobs, instances and colours.
#[must_use]
pub fn plain(query: &str) -> String {
    query
        .replace("{$F,", "{")
        .replace("{$F}", "")
        .replace("$__rate_interval", "5m")
}

impl Board {
    /// The board as Grafana loads it.
    #[must_use]
    pub fn json(&self) -> Value {
        let (mut x, mut y, mut row) = (0, 0, 0);
        let mut panels = Vec::new();
        for (idx, panel) in self.panels.iter().enumerate() {
            let (width, height) = match panel.draw {
                Draw::Number => (4, 4),
                Draw::Lines | Draw::Heatmap => (12, 8),
            };
            if x + width > 24 || (row != 0 && row != height) {
                (x, y) = (0, y + row);
            }
            panels.push(panel.json(idx + 1, [x, y, width, height]));
            (x, row) = (x + width, height);
        }
        let links: Vec<Value> = boards::BOARDS
            .iter()
            .filter(|board| board.uid != self.uid)
            .map(|board| {
                link(
                    board.title,
                    &format!(
                        "/d/{}?${{__url_time_range}}&${{__all_variables}}",
                        board.uid
                    ),
                )
            })
            .chain([link("Runbook", RUNBOOK)])
            .collect();
        json!({
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["layer5"],
            "schemaVersion": 39,
            "version": 1,
            "editable": true,
            "graphTooltip": 1,
            "refresh": "30s",
            "timezone": "utc",
            "time": { "from": "now-3h", "to": "now" },
            "templating": { "list": variables() },
            "annotations": { "list": annotations() },
            "links": links,
            "panels": panels,
        })
    }
}

impl Panel {
    fn json(&self, id: usize, [x, y, w, h]: [usize; 4]) -> Value {
        let targets: Vec<Value> = self
            .queries
            .iter()
            .enumerate()
            .map(|(idx, (query, legend))| {
                let letter = char::from(b'A' + idx as u8);
                json!({
                    "refId": letter.to_string(),
                    "expr": query.replace("$F", FILTER),
                    "legendFormat": legend,
                    "datasource": datasource(),
                    "format": if self.draw == Draw::Heatmap { "heatmap" } else { "time_series" },
                })
            })
            .collect();
        let links: Vec<Value> = self
            .alert
            .iter()
            .map(|alert| {
                link(
                    &format!("Runbook: {alert}"),
                    &format!("{RUNBOOK}#{}", alert.to_lowercase()),
                )
            })
            .collect();
        let mut steps = vec![json!({ "color": "green", "value": null })];
        if let Some(limit) = self.limit {
            steps.push(json!({ "color": "red", "value": limit }));
        }
        let lines = if self.limit.is_some() { "line" } else { "off" };
        json!({
            "id": id,
            "title": self.title,
            "description": self.description,
            "type": match self.draw {
                Draw::Lines => "timeseries",
                Draw::Number => "stat",
                Draw::Heatmap => "heatmap",
            },
            "datasource": datasource(),
            "gridPos": { "x": x, "y": y, "w": w, "h": h },
            "links": links,
            "targets": targets,
            "fieldConfig": {
                "defaults": {
                    "unit": self.unit,
                    "min": 0,
                    "thresholds": { "mode": "absolute", "steps": steps },
                    "custom": { "thresholdsStyle": { "mode": lines }, "fillOpacity": 8, "showPoints": "never" },
                },
                "overrides": [],
            },
            "options": { "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true } },
        })
    }
}

fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn link(title: &str, url: &str) -> Value {
    json!({ "title": title, "url": url, "type": "link", "targetBlank": false })
}

/// Data source, job, instance and colour.
fn variables() -> Value {
    let of = |name: &str, label: &str, query: &str| {
        json!({
            "name": name,
            "label": label,
            "type": "query",
            "datasource": datasource(),
            "query": { "query": query, "refId": name },
            "definition": query,
            "includeAll": true,
            "multi": true,
            "allValue": ".*",
            "current": { "text": "All", "value": "$__all" },
            "refresh": 2,
        })
    };
    json!([
        { "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus" },
        of("job", "Job", "label_values(layer5_build_info, job)"),
        of("instance", "Instance", r#"label_values(layer5_build_info{job=~"$job"}, instance)"#),
        of("color", "Colour", r#"label_values(layer5_build_info{job=~"$job"}, color)"#),
    ])
}

/// Deployments, restarts, what fires, and silences: what one wants to see under every curve.
fn annotations() -> Value {
    let of = |name: &str, color: &str, query: &str, text: &str| {
        json!({
            "name": name,
            "datasource": datasource(),
            "enable": true,
            "iconColor": color,
            "expr": query,
            "titleFormat": name,
            "textFormat": text,
            "step": "60s",
        })
    };
    json!([
        of(
            "Deployment",
            "blue",
            "sum by (version, color) (changes(layer5_build_info[2m]) > 0 or (layer5_build_info unless layer5_build_info offset 2m))",
            "{{version}} {{color}}"
        ),
        of(
            "Restart",
            "purple",
            "layer5_uptime_seconds < 60",
            "{{instance}}"
        ),
        of(
            "Incident",
            "red",
            r#"ALERTS{alertstate="firing",team="layer5",severity="critical"}"#,
            "{{alertname}} {{instance}}"
        ),
        of(
            "Maintenance",
            "orange",
            r#"alertmanager_silences{state="active"} > 0"#,
            "silenced"
        ),
    ])
}
