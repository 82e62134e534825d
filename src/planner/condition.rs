//! What the status of a DaemonSet tells everyone of an update that its policy holds up.

use jiff::Timestamp;

use crate::{model::DaemonSetCondition, policy::RolloutPhase};

/// Returns the conditions after a plan. The first update that is held up adds one; from then on it is kept up to date, unless
/// another controller has such a condition. `phase` is `None` without a policy.
pub(super) fn conditions(
    before: &[DaemonSetCondition],
    phase: Option<&RolloutPhase>,
    now: Option<Timestamp>,
) -> Vec<DaemonSetCondition> {
    let mut conditions = before.to_vec();
    let known = conditions.iter_mut().find(|condition| condition.kind == DaemonSetCondition::PROGRESSING);
    let is_held = phase.is_some_and(RolloutPhase::holds);
    if !known.as_ref().map_or(is_held, |known| RolloutPhase::is_told_by(known)) {
        return conditions;
    }
    let status = if is_held { "False" } else { "True" };
    // Kubernetes keeps whole seconds.
    let now = now.and_then(|now| Timestamp::from_second(now.as_second()).ok());
    let condition = DaemonSetCondition {
        kind: DaemonSetCondition::PROGRESSING.into(),
        status: status.into(),
        last_transition: known
            .as_ref()
            .map_or(now, |known| if known.status == status { known.last_transition } else { now }),
        reason: phase.map_or(RolloutPhase::NO_POLICY, RolloutPhase::code).into(),
        message: match phase {
            // A time that is left would change the status with every plan.
            Some(phase) => phase.clone().without_time().to_string().into(),
            None => "no rollout policy holds up updates".into(),
        },
    };
    match known {
        Some(known) => *known = condition,
        None => conditions.push(condition),
    }
    conditions
}
