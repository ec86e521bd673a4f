//! `POST /analyze`: every pattern in a series that the caller brings.
//! In: up to [`POINTS_MAX`] points. Out: the findings of `patterns::analyze` and their summary. Nothing is kept.

use axum::Json;
use layer5_core::{PatternEvent, Timestamp};
use layer5_patterns::{AnalysisConfig, analyze};

use super::{
    extract::Body,
    problem::Problem,
    wire::{AnalyzeAnswer, AnalyzeRequest, AnalyzeSummary},
};

/// Most points in one call.
pub(crate) const POINTS_MAX: usize = 1_000_000;

/// `POST /analyze`.
pub(crate) async fn post_analyze(
    Body(request): Body<AnalyzeRequest>,
) -> Result<Json<AnalyzeAnswer>, Problem> {
    if request.time_series.len() > POINTS_MAX {
        let detail = format!("{} points, at most {POINTS_MAX}", request.time_series.len());
        return Err(Problem::bad_request(detail));
    }
    let mut points: Vec<(Timestamp, f64)> = request
        .time_series
        .iter()
        .map(|point| (point.timestamp, point.value.unwrap_or(f64::NAN)))
        .collect();
    points.sort_by_key(|&(at, _)| at);
    // The analysis is pure computation of up to some seconds: not on the threads that serve.
    let answer = tokio::task::spawn_blocking(move || answer(&points))
        .await
        .map_err(|_panic| Problem::unavailable("the analysis failed"))?;
    Ok(Json(answer))
}

fn answer(points: &[(Timestamp, f64)]) -> AnalyzeAnswer {
    let (at, values): (Vec<Timestamp>, Vec<f64>) = points.iter().copied().unzip();
    let analysis = analyze(&at, &values, &AnalysisConfig::default());
    let trend = match analysis.summary.trend.as_ref().map(|trend| trend.slope) {
        Some(slope) if slope > 0.0 => "up",
        Some(slope) if slope < 0.0 => "down",
        _ => "none",
    };
    let patterns = analysis
        .findings
        .iter()
        .zip(1..)
        .map(|(finding, id)| PatternEvent {
            id,
            agent_id: String::new(),
            metric: "value".into(),
            explanation: finding.explain("value", ""),
            finding: *finding,
        });
    AnalyzeAnswer {
        patterns: patterns.collect(),
        summary: AnalyzeSummary {
            n: analysis.summary.n,
            trend,
            period: analysis.summary.period,
            anomalies: analysis.summary.anomalies,
            change_points: analysis.summary.change_points,
            forecast: analysis.summary.forecast,
        },
    }
}
