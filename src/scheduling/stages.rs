//! The pods as if others had come and gone, and what is asked about them then.

use std::{ops::Range, sync::Arc};

use super::{
    company::{Changes, Company, MoversByNode},
    incoming::Incoming,
    verdict::feasibility,
};
use crate::model::{Pod, Text};

/// The pods as if others had come, as if they had gone, and as if they had done both.
pub(super) type Views<'s> = [Incoming<'s>; 3];

/// What is asked about a pod on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Whether it can come to be bound there, or take the place of other pods.
    Bound,
    /// Whether it can stay refused.
    Refused,
    /// Whether it can be refused for as long as others surge.
    Delayed,
}

impl Question {
    /// The views of which one decides: a moment is enough to be bound, and what ends does not refuse a pod for good.
    fn views(self) -> Range<usize> {
        match self {
            Self::Bound => 0..3,
            Self::Refused => 2..3,
            Self::Delayed => 0..1,
        }
    }

    /// Whether the answer about a node that some pods have left is yes in a view.
    pub(super) fn is_yes<'s>(self, views: &mut Views<'s>, node: &Text, leave: &[&'s Pod]) -> bool {
        views.get_mut(self.views()).into_iter().flatten().any(|view| {
            view.aim_at(node.clone());
            view.company.leave = leave.to_vec();
            let found = feasibility(view);
            (found.would_fit || !found.preempts().is_empty()) == (self == Self::Bound)
        })
    }
}

/// The changes as if pods had come, as if they had gone, and as if they had done both. In a surge they go after others have come.
pub(super) fn stages<'s>(changes: &Changes<'s>, surges: bool) -> [Changes<'s>; 3] {
    let come = Changes { leave: MoversByNode::default(), ..changes.clone() };
    let leave = Changes { leave: changes.leave.clone(), ..Changes::default() };
    [come, if surges { changes.clone() } else { leave }, changes.clone()]
}

/// The pods as if others had come and gone.
pub(super) fn view<'s>(base: &Incoming<'s>, changes: Changes<'s>) -> Incoming<'s> {
    let mut view = base.clone();
    for (by_node, by) in [(&changes.come, 1), (&changes.leave, -1)] {
        for (node, pods) in by_node {
            for pod in pods {
                view.count_other(base.info.state.nodes.get(node), pod.pod, by);
            }
        }
    }
    view.company = Company { others: Arc::new(changes), leave: Vec::new() };
    view
}
