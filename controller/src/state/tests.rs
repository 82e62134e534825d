//! Units of the state.

use daemonplan::model::{Namespace, Node, Pod};
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use super::*;
use crate::expectations::Effect;

fn watched<T: Watch>(object: Value) -> Watched<T> {
    serde_json::from_value(object).unwrap()
}

fn list<T: Watch>(state: &mut State, objects: Vec<Value>, now: Moment) {
    state.observe::<T>(&Text::default(), Event::Init, now);
    for object in objects {
        state.observe(&Text::default(), Event::InitApply(watched::<T>(object)), now);
    }
    state.observe::<T>(&Text::default(), Event::InitDone, now);
}

fn agent(generation: i64) -> Value {
    json!({"metadata": {"namespace": "prod", "name": "agent", "uid": "d", "generation": generation, "resourceVersion": "1"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": {"metadata": {"labels": {"app": "agent"}}}}})
}

fn key() -> Key {
    Key::new("prod", "agent")
}

/// Returns a state with one node, in which all kinds but DaemonSets are listed.
fn state(now: Moment) -> State {
    let mut state = State::new(Settings::default(), Scope::default(), false, false, Duration::from_secs(3));
    list::<Namespace>(&mut state, vec![json!({"metadata": {"name": "prod"}})], now);
    list::<Node>(&mut state, vec![json!({"metadata": {"name": "n1"}})], now);
    list::<daemonplan::model::ControllerRevision>(&mut state, vec![], now);
    list::<Pod>(&mut state, vec![], now);
    state
}

fn ready(state: &mut State, now: Moment) -> bool {
    !state.ready(now).0.is_empty()
}

fn later(now: Moment, millis: u64) -> Moment {
    let wait = Duration::from_millis(millis);
    Moment { time: now.time + wait, instant: now.instant + wait }
}

#[test]
fn a_daemonset_is_ready_once_all_kinds_are_listed_and_has_one_job_at_a_time() {
    let now = Moment::now();
    let mut state = state(now);
    assert!(!state.is_complete() && !ready(&mut state, now));
    list::<DaemonSet>(&mut state, vec![agent(1)], now);
    assert!(ready(&mut state, now));
    let job = state.start(&key(), now, |_| "agent-1".into()).unwrap();
    assert_eq!(job.steps.last().unwrap().kind(), Kind::DaemonSet, "the status comes last");
    assert!(job.steps.iter().any(|step| step.kind() == Kind::Pod && step.key.name == "agent-1"));
    assert!(!ready(&mut state, now));
    state.forget_lists();
    state.finish(&job, Ok(()), now);
    assert!(!ready(&mut state, now), "a new leader starts with lists");
}

#[test]
fn failures_delay_retries_ever_longer_until_the_daemonset_is_edited() {
    let now = Moment::now();
    let mut state = state(now);
    list::<DaemonSet>(&mut state, vec![agent(1)], now);
    let mut at = now;
    for wait in [100, 200, 400] {
        let job = state.start(&key(), at, |_| "agent-1".into()).unwrap();
        state.finish(&job, Err(Failure::default()), at);
        assert_eq!(state.next_wakeup(at), Some(at.instant + Duration::from_millis(wait)));
        assert!(!ready(&mut state, later(at, wait - 1)) && ready(&mut state, later(at, wait)));
        at = later(at, wait);
    }
    let job = state.start(&key(), at, |_| "agent-1".into()).unwrap();
    state.finish(&job, Err(Failure { retry_after: Some(Duration::from_secs(7)), terminal: false }), at);
    assert_eq!(state.next_wakeup(at), Some(at.instant + Duration::from_secs(7)), "the API server asks to retry later");
    state.observe(&Text::default(), Event::Apply(watched::<DaemonSet>(agent(2))), at);
    assert!(ready(&mut state, at), "the edit may have fixed it");
}

#[test]
fn an_invalid_daemonset_is_left_alone_and_an_invalid_pod_keeps_its_last_version() {
    let now = Moment::now();
    let mut state = state(now);
    list::<DaemonSet>(&mut state, vec![agent(1)], now);
    let mut broken = agent(2);
    broken["spec"]["updateStrategy"] = json!({"rollingUpdate": {"maxUnavailable": "half"}});
    let (_, unreadable) = state.observe(&Text::default(), Event::Apply(watched::<DaemonSet>(broken)), now);
    assert_eq!(unreadable.unwrap().0, key());
    assert!(state.start(&key(), now, |_| "agent-1".into()).is_none());
    // A pod of the same name is a different object.
    state.observe(&Text::default(), Event::Apply(watched::<DaemonSet>(agent(3))), now);
    let pod = |labels: Value| json!({"metadata": {"namespace": "prod", "name": "agent", "labels": labels, "resourceVersion": "1"}});
    state.observe(&Text::default(), Event::Apply(watched::<Pod>(pod(json!({"app": "agent"})))), now);
    let (_, unreadable) = state.observe(&Text::default(), Event::Apply(watched::<Pod>(pod(json!("none")))), now);
    assert!(unreadable.is_some());
    assert_eq!(state.cluster.pod(&key()).unwrap().labels.get("app"), Some("agent"));
    assert!(state.cluster.daemonset(&key()).is_some());
}

#[test]
fn each_step_knows_how_it_will_show() {
    let now = Moment::now();
    let mut state = state(now);
    list::<DaemonSet>(&mut state, vec![agent(1)], now);
    let pod = |name: &str| {
        json!({"metadata": {"namespace": "prod", "name": name, "uid": name, "labels": {"app": "agent"}, "resourceVersion": "1",
            "ownerReferences": [{"kind": "DaemonSet", "name": "agent", "uid": "d", "controller": true}]},
            "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}})
    };
    let expectations = |state: &mut State| -> Vec<Effect> {
        let job = state.start(&key(), now, |_| "agent-1".into()).unwrap();
        state.finish(&job, Ok(()), now);
        job.steps.iter().map(Step::effect).collect()
    };
    // A revision, a pod, the status.
    assert_eq!(expectations(&mut state), [Effect::Changed, Effect::Created, Effect::Noted]);
    state.observe(&Text::default(), Event::Apply(watched::<Pod>(pod("a"))), now);
    state.observe(&Text::default(), Event::Apply(watched::<Pod>(pod("b"))), now);
    assert_eq!(expectations(&mut state)[1], Effect::Deleted { uid: "b".into() }, "one too many");
}

#[test]
fn a_new_pod_gets_a_name_that_no_known_or_expected_pod_has() {
    let now = Moment::now();
    let mut state = state(now);
    list::<DaemonSet>(&mut state, vec![agent(1)], now);
    let known = json!({"metadata": {"namespace": "prod", "name": "agent-1", "resourceVersion": "1"}});
    state.observe(&Text::default(), Event::Apply(watched::<Pod>(known)), now);
    let mut numbers = 1..;
    let mut name = |_: &Text| Text::from(format!("agent-{}", numbers.next().unwrap_or_default()).as_str());
    let job = state.start(&key(), now, &mut name).unwrap();
    let step = job.steps.iter().find(|step| step.kind() == Kind::Pod).unwrap();
    assert_eq!(&*step.key.name, "agent-2");
    let mut again = ["agent-1", "agent-2", "agent-3"].into_iter();
    let renamed = state.rename(&key(), step, |_| again.next().unwrap_or_default().into());
    assert_eq!(&*renamed.key.name, "agent-3");
}
