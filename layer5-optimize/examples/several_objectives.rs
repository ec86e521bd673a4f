//! Looks for everything that can be had between fast and cheap, with four workers at a time.
//! Run with `cargo run -p layer5-optimize --example several_objectives`.

use layer5_optimize::{
    Direction, Domain, Outcome, Parameter, Point, SamplerKind, Space, Study, StudyConfig, Value,
    insight,
};

/// Requests per second, and cost per hour, of a made-up deployment.
fn measured(point: &Point) -> (f64, f64) {
    let [
        Value::Int(nodes),
        Value::Float(gigahertz),
        Value::Choice(disk),
    ] = point.values()
    else {
        unreachable!("values come in the order and kinds of the space")
    };
    let (nodes, disk) = (*nodes as f64, [1.0, 1.35, 1.5][*disk]);
    let speed = 100.0 * nodes.powf(0.8) * gigahertz.sqrt() * disk;
    (
        speed,
        nodes * (0.2 + 0.05 * gigahertz.powi(2) + 0.1 * disk.powi(3)),
    )
}

#[allow(clippy::print_stdout, reason = "an example talks to its reader")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let disks = ["spinning", "solid", "memory"];
    let space = Space::new(vec![
        Parameter::new("nodes", Domain::int(1, 20)),
        Parameter::new("gigahertz", Domain::float(1.0, 4.0)),
        Parameter::new("disk", Domain::categorical(disks)),
    ])?;
    let mut study = Study::new(StudyConfig {
        direction: Direction::Maximize,
        other_directions: vec![Direction::Minimize],
        sampler: SamplerKind::Ehvi,
        seed: 1,
        ..StudyConfig::new(space.clone())
    })?;
    for _ in 0..12 {
        for trial in study.ask_n(4) {
            let (speed, cost) = measured(&trial.point);
            let outcome = Outcome::Values {
                objectives: vec![speed, cost],
                constraints: Vec::new(),
                noise_sd: Vec::new(),
            };
            study.tell(trial.id, outcome)?;
        }
    }
    println!("requests/s   cost/h   deployment");
    let mut front = study.pareto_front();
    front.sort_by(|a, b| a.value.total_cmp(&b.value));
    for one in front {
        let values: Vec<String> = (0..space.len())
            .map(|j| match one.point.values()[j] {
                Value::Float(x) => format!("{x:.2} GHz"),
                Value::Int(n) => format!("{n} nodes"),
                other => space.choice_name(j, other).unwrap_or("?").to_owned(),
            })
            .collect();
        println!(
            "{:>10.0}   {:>6.2}   {}",
            one.value,
            one.others[0],
            values.join(", ")
        );
    }
    for (objective, name) in ["speed", "cost"].iter().enumerate() {
        let shares = insight::importances(&study, objective).ok_or("too little was told")?;
        let shares: Vec<String> = shares
            .iter()
            .map(|one| format!("{} {:.0} %", one.name, 100.0 * one.total))
            .collect();
        println!("{name} goes back to {}", shares.join(", "));
    }
    Ok(())
}
