//! Advice and its outcomes: `/optimize`, the polls of Layer7, `/feedback`, `/evolution-feedback`, resources.
//! In: the neighbours' calls. Out: answers once what they told is durable. Next on the way: the log, then the tuner.
//! Invariants: an unknown agent is no error; NaN and infinity are refused; a poll that was answered has taken its
//! recommendation out of the outbox.

use std::time::Instant;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use layer5_core::{Outcome, Parameters};
use uuid::Uuid;

use super::{
    Doors,
    extract::Body,
    problem::Problem,
    wire::{
        EvolutionRequest, FeedbackRequest, NextFeedback, OptimizeAnswer, OptimizeRequest,
        ResourcesRequest, SpaceUsed, ValidationResults,
    },
};
use crate::{
    clock,
    config::Role,
    refinery::ask::ALGORITHMS,
    store::{Ask, Control, EvolutionFeedback, ResourceNotice},
};

/// Most parameters in one question.
const PARAMETERS_MAX: usize = 200;

/// `POST /optimize`.
pub(crate) async fn optimize(
    State(doors): State<Doors>,
    Body(request): Body<OptimizeRequest>,
) -> Result<Json<OptimizeAnswer>, Problem> {
    let began = Instant::now();
    check_id("agent_id", &request.agent_id)?;
    if !ALGORITHMS.contains(&request.algorithm.as_str()) {
        let known = ALGORITHMS.join(", ");
        let detail = format!(
            "algorithm `{}` is not known, use one of {known}",
            request.algorithm
        );
        return Err(Problem::bad_request(detail));
    }
    check_numbers(&request.parameters)?;
    if request.parameters.is_empty() && !doors.has_cohort_for(&request.agent_id) {
        let detail = "parameters is empty and no cohort of the config declares any for this agent";
        return Err(Problem::bad_request(detail));
    }
    let now = clock::now();
    let id = Uuid::new_v4();
    let answered = doors.expect_answer(id);
    doors
        .tell(Control::Ask(Ask {
            optimization_id: id,
            agent_id: request.agent_id.clone(),
            algorithm: request.algorithm.clone(),
            parameters: request.parameters,
            at: now,
        }))
        .await?;
    let answer = answered
        .await
        .map_err(|_gone| Problem::unavailable("layer5 is stopping"))?;
    doors.meters.optimized(&request.algorithm, began.elapsed());
    let (expected_improvement, lower, upper) = answer.expected;
    let spaces = answer
        .spaces
        .into_iter()
        .map(|(name, (low, high, declared))| {
            (
                name,
                SpaceUsed {
                    low,
                    high,
                    declared,
                },
            )
        });
    Ok(Json(OptimizeAnswer {
        agent_id: request.agent_id,
        optimization_id: id,
        algorithm: request.algorithm,
        parameters: answer.parameters,
        confidence: answer.confidence,
        expected_improvement,
        expected_interval: [lower, upper],
        spaces: spaces.collect(),
        timestamp: now,
    }))
}

/// `POST /feedback`.
pub(crate) async fn post_feedback(
    State(doors): State<Doors>,
    Body(request): Body<FeedbackRequest>,
) -> Result<Response, Problem> {
    check_id("agent_id", &request.agent_id)?;
    check_number("performance_delta", request.performance_delta)?;
    doors
        .tell(Control::Feedback(Outcome {
            agent_id: request.agent_id,
            optimization_id: request.optimization_id,
            success: request.success,
            performance_delta: request.performance_delta,
            timestamp: request.timestamp,
        }))
        .await?;
    Ok(accepted())
}

/// `GET /feedback` and `GET /optimization-feedback`: the next undelivered recommendation, or 204.
pub(crate) async fn next_feedback(State(doors): State<Doors>) -> Result<Response, Problem> {
    if doors.config.role == Role::Shadow {
        let detail = "this instance is a shadow and hands nothing out, ask the active one";
        return Err(Problem::new(StatusCode::CONFLICT, "a shadow", detail));
    }
    if !doors.store.is_current() {
        let detail = "another process has opened the data folder, ask it";
        return Err(Problem::unavailable(detail));
    }
    let Some(recommendation) = doors.next_undelivered()? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let optimization_id = recommendation.optimization_id;
    doors
        .tell(Control::HandedOut {
            optimization_id,
            at: clock::now(),
        })
        .await?;
    let score = doors.score().await;
    let accuracy = score.and_then(|score| score.accuracy);
    let body = NextFeedback {
        agent_id: recommendation.agent_id,
        optimization_id,
        performance_improvement: recommendation.expected_improvement,
        confidence: recommendation.confidence,
        parameters: recommendation.parameters,
        timestamp: recommendation.timestamp,
        validation_results: ValidationResults {
            accuracy,
            ..ValidationResults::default()
        },
    };
    Ok(Json(body).into_response())
}

/// `POST /evolution-feedback`.
pub(crate) async fn post_evolution(
    State(doors): State<Doors>,
    Body(request): Body<EvolutionRequest>,
) -> Result<Response, Problem> {
    check_id("experiment_id", &request.experiment_id)?;
    check_number("improvement_achieved", request.improvement_achieved)?;
    check_number("best_fitness", request.best_fitness)?;
    check_numbers(&request.best_genome.hyperparameters)?;
    doors
        .tell(Control::Evolution(EvolutionFeedback {
            experiment_id: request.experiment_id,
            hyperparameters: request.best_genome.hyperparameters,
            best_fitness: request.best_fitness,
            improvement_achieved: request.improvement_achieved,
            generations_completed: request.generations_completed,
            total_evaluations: request.total_evaluations,
            timestamp: request.timestamp,
        }))
        .await?;
    Ok(accepted())
}

/// `POST /api/v1/resources`.
pub(crate) async fn post_resources(
    State(doors): State<Doors>,
    Body(request): Body<ResourcesRequest>,
) -> Result<Response, Problem> {
    check_id("source_layer", &request.source_layer)?;
    let numbers = request.available_resources.into_iter();
    let available_resources: Parameters = numbers
        .filter_map(|(name, value)| Some((name, value.as_f64()?)))
        .collect();
    doors
        .tell(Control::Resources(ResourceNotice {
            available_resources,
            source_layer: request.source_layer,
            timestamp: request.timestamp,
        }))
        .await?;
    Ok(accepted())
}

fn accepted() -> Response {
    Json(serde_json::json!({ "accepted": true })).into_response()
}

fn check_id(field: &str, id: &str) -> Result<(), Problem> {
    if (1..=128).contains(&id.len()) && !id.chars().any(char::is_control) {
        return Ok(());
    }
    let detail = format!(
        "{field} has {} bytes; 1 to 128 without control characters",
        id.len()
    );
    Err(Problem::bad_request(detail))
}

fn check_number(field: &str, value: f64) -> Result<(), Problem> {
    if value.is_finite() && value.abs() <= 1e300 {
        return Ok(());
    }
    Err(Problem::bad_request(format!(
        "{field} = {value} is not accepted, it must be finite"
    )))
}

fn check_numbers(parameters: &Parameters) -> Result<(), Problem> {
    if parameters.len() > PARAMETERS_MAX {
        let detail = format!("{} parameters, at most {PARAMETERS_MAX}", parameters.len());
        return Err(Problem::bad_request(detail));
    }
    for (name, &value) in parameters {
        if name.is_empty() || name.len() > 100 {
            return Err(Problem::bad_request(
                "a parameter's name has 1 to 100 bytes",
            ));
        }
        check_number(name, value)?;
    }
    Ok(())
}
