//! The API server and the cluster around it behave as Kubernetes' do, seen through kube's client.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use daemonplan_testing::{Faults, Id, Pace, Server, Store, Workloads, objects};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::{
    api::{
        apps::v1::DaemonSet,
        core::v1::{ConfigMap, Namespace, Pod},
        policy::v1::PodDisruptionBudget,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, CustomResource, CustomResourceExt, ResourceExt,
    api::{
        DeleteParams, DynamicObject, EvictParams, ListParams, Patch, PatchParams, PostParams, Preconditions,
        WatchEvent, WatchParams,
    },
    core::ApiResource,
    discovery::Discovery,
    runtime::{WatchStreamExt, reflector, watcher},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);

#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[kube(group = "example.com", version = "v1", kind = "Widget", namespaced, status = "WidgetStatus")]
struct WidgetSpec {
    size: u32,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
struct WidgetStatus {
    ready: bool,
}

async fn cluster() -> (Server, Client) {
    let server = Server::start().await.unwrap();
    server.store().create("namespaces", objects::namespace("prod"));
    let client = server.client().unwrap();
    (server, client)
}

fn object<T: DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

fn config(name: &str, data: &Value) -> ConfigMap {
    object(json!({"metadata": {"name": name, "labels": {"of": name}}, "data": data}))
}

fn pod(name: &str) -> Pod {
    object(
        json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": "web:1"}]}}),
    )
}

/// Returns the HTTP status of a refusal.
fn code<T: std::fmt::Debug>(outcome: kube::Result<T>) -> u16 {
    match outcome.unwrap_err() {
        kube::Error::Api(status) => status.code,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_write_of_an_older_version_conflicts() {
    let (_server, client) = cluster().await;
    let api: Api<ConfigMap> = Api::namespaced(client, "prod");
    let first = api.create(&PostParams::default(), &config("a", &json!({"k": "1"}))).await.unwrap();
    assert_eq!(code(api.create(&PostParams::default(), &config("a", &json!({}))).await), 409);
    let mut second = first.clone();
    second.data = Some(BTreeMap::from([("k".to_owned(), "2".to_owned())]));
    let second = api.replace("a", &PostParams::default(), &second).await.unwrap();
    assert_ne!(first.resource_version(), second.resource_version());
    assert_eq!(code(api.replace("a", &PostParams::default(), &first).await), 409);
    // Without a version the last write wins; one that changes nothing makes no version.
    let same = api.patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": "2"}}))).await.unwrap();
    assert_eq!(same.resource_version(), second.resource_version());
    let stale = json!({"metadata": {"resourceVersion": first.resource_version()}, "data": {"k": "3"}});
    assert_eq!(code(api.patch("a", &PatchParams::default(), &Patch::Merge(stale)).await), 409);
    let deletion = |version, uid| DeleteParams {
        preconditions: Some(Preconditions { resource_version: version, uid }),
        ..DeleteParams::default()
    };
    assert_eq!(code(api.delete("a", &deletion(first.resource_version(), None)).await), 409);
    assert_eq!(code(api.delete("a", &deletion(None, Some("another".to_owned()))).await), 409);
    api.delete("a", &deletion(second.resource_version(), second.uid())).await.unwrap();
    assert_eq!(code(api.get("a").await), 404);
}

#[tokio::test]
async fn patches_of_every_type_are_applied() {
    let (_server, client) = cluster().await;
    let api: Api<DaemonSet> = Api::namespaced(client, "prod");
    let agent: DaemonSet = object(objects::daemonset("prod", "agent"));
    let created = api.create(&PostParams::default(), &agent).await.unwrap();
    assert_eq!(created.metadata.generation, Some(1));
    let spec = |daemonset: &DaemonSet| serde_json::to_value(&daemonset.spec).unwrap()["template"]["spec"].clone();
    let params = PatchParams::default();
    // Strategic: containers are matched by their names, environment variables too.
    let sidecar = json!({"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "side:1"},
        {"name": "main", "env": [{"name": "A", "value": "1"}]}]}}}});
    let patched = api.patch("agent", &params, &Patch::Strategic(sidecar)).await.unwrap();
    let containers = spec(&patched)["containers"].clone();
    assert_eq!(
        (containers[0]["image"].as_str(), containers[1]["name"].as_str()),
        (Some("registry/agent:1"), Some("side"))
    );
    assert_eq!(containers[0]["env"][0]["value"], "1");
    assert_eq!(patched.metadata.generation, Some(2));
    let gone = json!({"spec": {"template": {"spec": {"containers": [{"$patch": "delete", "name": "side"}]}}}});
    let patched = api.patch("agent", &params, &Patch::Strategic(gone)).await.unwrap();
    assert_eq!(spec(&patched)["containers"].as_array().unwrap().len(), 1);
    assert_eq!(patched.annotations()["deprecated.daemonset.template.generation"], "3");
    // Merge: a list is replaced, null removes.
    let merge = json!({"metadata": {"labels": {"app": null}}, "spec": {"template": {"spec": {"containers": [{"name": "only"}]}}}});
    let patched = api.patch("agent", &params, &Patch::Merge(merge)).await.unwrap();
    assert_eq!((spec(&patched)["containers"].clone(), patched.labels().len()), (json!([{"name": "only"}]), 0));
    // JSON: operations, of which a failing test refuses all.
    let operations = |tested: &str| {
        let json = json!([{"op": "test", "path": "/metadata/name", "value": tested},
            {"op": "add", "path": "/metadata/finalizers", "value": ["example.com/keep"]}]);
        Patch::Json::<()>(serde_json::from_value(json).unwrap())
    };
    assert_eq!(code(api.patch("agent", &params, &operations("other")).await), 422);
    let patched = api.patch("agent", &params, &operations("agent")).await.unwrap();
    assert_eq!(patched.finalizers(), ["example.com/keep"]);
    // A missing field is null to a test, as kube's finalizers have it.
    let json = json!([{"op": "test", "path": "/metadata/none", "value": null}]);
    api.patch("agent", &params, &Patch::Json::<()>(serde_json::from_value(json).unwrap())).await.unwrap();
    assert_eq!(patched.metadata.generation, Some(4), "metadata does not count");
}

#[tokio::test]
async fn the_status_is_written_by_itself() {
    let (server, client) = cluster().await;
    server.store().create("customresourcedefinitions", serde_json::to_value(Widget::crd()).unwrap());
    let api: Api<Widget> = Api::namespaced(client, "prod");
    let mut widget = Widget::new("one", WidgetSpec { size: 1 });
    widget.status = Some(WidgetStatus { ready: true });
    let created = api.create(&PostParams::default(), &widget).await.unwrap();
    assert!(created.status.is_none(), "a creation sets no status");
    let both = json!({"spec": {"size": 2}, "status": {"ready": true}});
    let patched = api.patch_status("one", &PatchParams::default(), &Patch::Merge(&both)).await.unwrap();
    assert_eq!((patched.spec.size, patched.status.unwrap().ready, patched.metadata.generation), (1, true, Some(1)));
    let patched = api
        .patch("one", &PatchParams::default(), &Patch::Merge(json!({"spec": {"size": 3}, "status": null})))
        .await
        .unwrap();
    assert_eq!((patched.spec.size, patched.status.unwrap().ready, patched.metadata.generation), (3, true, Some(2)));
    let config: Api<ConfigMap> = Api::namespaced(server.client().unwrap(), "prod");
    config.create(&PostParams::default(), &self::config("a", &json!({}))).await.unwrap();
    assert_eq!(code(config.patch_status("a", &PatchParams::default(), &Patch::Merge(&both)).await), 404);
}

#[tokio::test]
async fn server_side_apply_keeps_the_owners_of_fields() {
    let (_server, client) = cluster().await;
    let api: Api<Pod> = Api::namespaced(client, "prod");
    let apply = async |manager: &str, force: bool, body: Value| {
        let params = PatchParams { force, ..PatchParams::apply(manager) };
        let mut body = body;
        body["apiVersion"] = json!("v1");
        body["kind"] = json!("Pod");
        api.patch("web", &params, &Patch::Apply(body)).await
    };
    let main = |image: &str| {
        json!({"metadata": {"labels": {"a": "1", "b": "2"}},
        "spec": {"containers": [{"name": "main", "image": image}]}})
    };
    apply("one", false, main("web:1")).await.unwrap();
    // Another manager adds what the first does not own, and may not change what it does.
    let side = json!({"spec": {"containers": [{"name": "side", "image": "side:1"}]}});
    let pod = apply("two", false, side.clone()).await.unwrap();
    assert_eq!(pod.spec.unwrap().containers.len(), 2);
    let taken =
        json!({"spec": {"containers": [{"name": "side", "image": "side:1"}, {"name": "main", "image": "web:2"}]}});
    assert_eq!(code(apply("two", false, taken.clone()).await), 409);
    let pod = apply("two", true, taken).await.unwrap();
    assert_eq!(pod.spec.unwrap().containers[0].image.as_deref(), Some("web:2"));
    // What a manager no longer names goes, unless another owns it.
    let pod = apply("one", false, json!({"metadata": {"labels": {"a": "1"}}})).await.unwrap();
    assert_eq!(pod.labels().keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(pod.spec.unwrap().containers.len(), 2, "the second manager owns both");
    let pod = apply("two", false, side).await.unwrap();
    let names: Vec<_> = pod.spec.unwrap().containers.into_iter().map(|container| container.name).collect();
    assert_eq!(names, ["side"]);
    // An item goes with all its fields.
    let both = json!({"spec": {"containers": [{"name": "side", "image": "side:1", "stdin": true, "workingDir": "/"}]}});
    apply("three", false, both).await.unwrap();
    apply("two", false, json!({"metadata": {"labels": {"of": "two"}}})).await.unwrap();
    let pod = apply("three", false, json!({"metadata": {"labels": {"a": "1"}}})).await.unwrap();
    assert!(pod.spec.is_none_or(|spec| spec.containers.is_empty()));
    assert_eq!(code(apply("", false, json!({})).await), 400);
}

#[tokio::test]
async fn a_list_shows_one_moment_on_all_its_pages() {
    let (server, client) = cluster().await;
    let api: Api<ConfigMap> = Api::all(client);
    let make = |name: &str| json!({"metadata": {"namespace": "prod", "name": name, "labels": {"of": name}}});
    for name in ["a", "b", "c", "d", "e"] {
        server.store().create("configmaps", make(name));
    }
    let names = |list: &kube::api::ObjectList<ConfigMap>| list.iter().map(ResourceExt::name_any).collect::<Vec<_>>();
    let first = api.list(&ListParams::default().limit(2)).await.unwrap();
    {
        let mut store = server.store();
        store.remove(&Id::new("configmaps", "prod", "c"));
        store.create("configmaps", make("cc"));
        store.edit(&Id::new("configmaps", "prod", "d"), |config| config["data"] = json!({"k": "later"}));
    }
    let rest = ListParams::default().limit(9).continue_token(first.metadata.continue_.as_ref().unwrap());
    let rest = api.list(&rest).await.unwrap();
    assert_eq!((names(&first), names(&rest)), (vec!["a".into(), "b".into()], vec!["c".into(), "d".into(), "e".into()]));
    assert!(rest.items[1].data.is_none() && rest.metadata.resource_version == first.metadata.resource_version);
    // A watch from that version shows what the list does not.
    let version = rest.metadata.resource_version.unwrap();
    let events = api.watch(&WatchParams::default().timeout(1), &version).await.unwrap();
    let events: Vec<String> = events.map(|event| format!("{:?}", event.unwrap())).collect().await;
    let events: Vec<_> = events.iter().map(String::as_str).filter(|event| *event != "Bookmark event").collect();
    assert_eq!(events, ["Deleted event", "Added event", "Modified event"]);
    let selected = ListParams::default().labels("of in (a,b),of!=b").fields("metadata.namespace=prod");
    assert_eq!(names(&api.list(&selected).await.unwrap()), ["a"]);
    assert_eq!(code(api.list(&ListParams::default().fields("data.k=1")).await), 400);
    // The continuation of a list expires.
    let first = api.list(&ListParams::default().limit(2)).await.unwrap();
    server.store().create("configmaps", make("f"));
    server.store().compact();
    let rest = ListParams::default().continue_token(first.metadata.continue_.as_ref().unwrap());
    assert_eq!(code(api.list(&rest).await), 410);
}

#[tokio::test]
async fn watches_follow_selectors_send_bookmarks_and_expire() {
    let (server, client) = cluster().await;
    let api: Api<ConfigMap> = Api::namespaced(client, "prod");
    let make = |namespace: &str, name: &str| json!({"metadata": {"namespace": namespace, "name": name, "labels": {"of": name}}});
    let a = server.store().create("configmaps", make("prod", "a"));
    let version = server.store().version().to_string();
    let watching = WatchParams::default().labels("of=a").timeout(3);
    let mut events = api.watch(&watching, &version).await.unwrap().boxed();
    {
        let mut store = server.store();
        store.create("configmaps", make("prod", "b"));
        store.create("configmaps", make("lab", "a"));
        store.edit(&a, |config| config["data"] = json!({"k": "1"}));
        // For this watch, an object that is no longer selected is gone.
        store.edit(&a, |config| config["metadata"]["labels"] = json!({}));
        store.edit(&a, |config| config["metadata"]["labels"] = json!({"of": "a"}));
        store.remove(&a);
    }
    let mut seen = Vec::new();
    while let Some(event) = events.try_next().await.unwrap() {
        seen.push(match event {
            WatchEvent::Added(_) => "added",
            WatchEvent::Modified(_) => "modified",
            WatchEvent::Deleted(_) => "deleted",
            WatchEvent::Bookmark(mark) => {
                assert_eq!(mark.metadata.resource_version, server.store().version().to_string());
                "bookmark"
            }
            WatchEvent::Error(_) => "error",
        });
    }
    assert_eq!(seen[..5], ["modified", "deleted", "added", "deleted", "bookmark"]);
    server.store().compact();
    assert_eq!(code(api.watch(&WatchParams::default(), "1").await.map(|_| ())), 410);
}

#[tokio::test]
async fn kubes_watcher_survives_whatever_happens_to_its_watch() {
    for config in [watcher::Config::default().page_size(3), watcher::Config::default().streaming_lists()] {
        let (server, client) = cluster().await;
        let make = |name: &str| json!({"metadata": {"namespace": "prod", "name": name}});
        for number in 0..8 {
            server.store().create("configmaps", make(&format!("old-{number}")));
        }
        server.store().faults = Faults { refused: 0.05, watch_ends: 0.2, ..Faults::default() };
        let (reader, writer) = reflector::store::<ConfigMap>();
        let watching = watcher(Api::<ConfigMap>::all(client), config).default_backoff();
        let watching = reflector(writer, watching).for_each(|_| std::future::ready(()));
        let watching = tokio::spawn(watching);
        reader.wait_until_ready().await.unwrap();
        for number in 0..30 {
            server.store().create("configmaps", make(&format!("new-{number}")));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // A running watch expires. (If one cannot even start for that reason, kube's watcher tries for ever.)
        let cached = |reader: &reflector::Store<ConfigMap>| {
            reader.state().iter().map(|one| one.name_any()).collect::<BTreeSet<_>>()
        };
        let stored = || server.store().all("configmaps").into_iter().map(|(id, _)| id.name).collect::<BTreeSet<_>>();
        let agree = async || {
            for _ in 0..2000 {
                if cached(&reader) == stored() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(cached(&reader), stored());
        };
        agree().await;
        server.store().faults = Faults::default();
        server.store().create("configmaps", make("now it runs"));
        agree().await;
        {
            let mut store = server.store();
            store.remove(&Id::new("configmaps", "prod", "old-0"));
            store.create("configmaps", make("last"));
            store.compact();
        }
        agree().await;
        watching.abort();
    }
}

#[tokio::test]
async fn custom_resources_are_served_once_they_are_defined() {
    let (_server, client) = cluster().await;
    let widgets: Api<Widget> = Api::namespaced(client.clone(), "prod");
    assert_eq!(code(widgets.list(&ListParams::default()).await), 404);
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.create(&PostParams::default(), &Widget::crd()).await.unwrap();
    widgets.create(&PostParams::default(), &Widget::new("one", WidgetSpec { size: 1 })).await.unwrap();
    let discovery = Discovery::new(client.clone()).run().await.unwrap();
    let (resource, capabilities) =
        discovery.resolve_gvk(&kube::core::GroupVersionKind::gvk("example.com", "v1", "Widget")).unwrap();
    assert!(capabilities.supports_operation("watch"));
    let found = Api::<DynamicObject>::all_with(client.clone(), &resource).list(&ListParams::default()).await.unwrap();
    assert_eq!(found.items[0].data["spec"]["size"], 1);
    assert!(found.items[0].types.is_some(), "custom objects have their types in lists, too");
    let (resource, _) = discovery.resolve_gvk(&kube::core::GroupVersionKind::gvk("apps", "v1", "DaemonSet")).unwrap();
    assert_eq!(resource, ApiResource::erase::<DaemonSet>(&()));
}

#[tokio::test]
async fn lists_of_built_in_kinds_omit_the_types() {
    let (_server, client) = cluster().await;
    let resource = ApiResource::erase::<Namespace>(&());
    let api = Api::<DynamicObject>::all_with(client, &resource);
    assert!(api.list(&ListParams::default()).await.unwrap().items[0].types.is_none());
    let single = api.get("prod").await.unwrap().types.unwrap();
    assert_eq!((&*single.kind, &*single.api_version), ("Namespace", "v1"));
    let metadata = api.get_metadata("prod").await.unwrap();
    assert_eq!(
        (metadata.name_any(), metadata.types.unwrap().kind),
        ("prod".to_owned(), "PartialObjectMetadata".to_owned())
    );
}

#[tokio::test]
async fn finalizers_and_grace_periods_hold_a_deletion() {
    let (server, client) = cluster().await;
    server.store().create("nodes", objects::node("node-1"));
    let api: Api<Pod> = Api::namespaced(client, "prod");
    let agents: Api<DaemonSet> = Api::namespaced(server.client().unwrap(), "prod");
    let mut agent: DaemonSet = object(objects::daemonset("prod", "agent"));
    agent.metadata.finalizers = Some(vec!["example.com/keep".to_owned()]);
    agents.create(&PostParams::default(), &agent).await.unwrap();
    agents.delete("agent", &DeleteParams::default()).await.unwrap();
    let generation = agents.get("agent").await.unwrap().metadata.generation;
    assert_eq!(generation, Some(2), "the deletion counts");
    let mut web = pod("web");
    web.metadata.finalizers = Some(vec!["example.com/keep".to_owned()]);
    api.create(&PostParams::default(), &web).await.unwrap();
    api.delete("web", &DeleteParams::default()).await.unwrap();
    assert!(api.get("web").await.unwrap().metadata.deletion_timestamp.is_some());
    api.patch("web", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"finalizers": null}}))).await.unwrap();
    assert!(api.get_opt("web").await.unwrap().is_none(), "it was not bound to a node");
    // A pod on a node waits for its kubelet, unless it is killed at once.
    for (name, grace) in [("slow", None), ("fast", Some(0))] {
        let mut bound = pod(name);
        bound.spec.as_mut().unwrap().node_name = Some("node-1".to_owned());
        api.create(&PostParams::default(), &bound).await.unwrap();
        api.delete(name, &DeleteParams { grace_period_seconds: grace, ..DeleteParams::default() }).await.unwrap();
        assert_eq!(api.get_opt(name).await.unwrap().is_some(), grace.is_none(), "{name}");
    }
    let _workloads = Workloads::start(&server, Pace::default());
    assert!(server.wait_for(LIMIT, |store| store.all("pods").is_empty()).await);
}

fn owned(name: &str, owner: &str, uid: &Value) -> Value {
    json!({"metadata": {"namespace": "prod", "name": name, "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap",
        "name": owner, "uid": uid, "controller": true, "blockOwnerDeletion": true}]}})
}

#[tokio::test]
async fn dependents_follow_their_owner_as_the_deletion_says() {
    let (server, client) = cluster().await;
    let _workloads = Workloads::start(&server, Pace::default());
    let api: Api<ConfigMap> = Api::namespaced(client, "prod");
    for (params, leaves) in
        [(DeleteParams::background(), false), (DeleteParams::foreground(), false), (DeleteParams::orphan(), true)]
    {
        {
            let mut store = server.store();
            let owner = store.create("configmaps", json!({"metadata": {"namespace": "prod", "name": "owner"}}));
            let uid = store.get(&owner).unwrap()["metadata"]["uid"].clone();
            store.create("configmaps", owned("dependent", "owner", &uid));
        }
        api.delete("owner", &params).await.unwrap();
        let owner = Id::new("configmaps", "prod", "owner");
        assert!(server.wait_for(LIMIT, |store| store.get(&owner).is_none()).await);
        let dependent = Id::new("configmaps", "prod", "dependent");
        if leaves {
            assert!(objects::controller_of(server.store().get(&dependent).unwrap()).is_none());
        } else {
            assert!(server.wait_for(LIMIT, |store| store.get(&dependent).is_none()).await);
        }
    }
}

#[tokio::test]
async fn a_namespace_is_emptied_before_it_goes_and_takes_nothing_new() {
    let (server, client) = cluster().await;
    let configs: Api<ConfigMap> = Api::namespaced(client.clone(), "prod");
    let namespaces: Api<Namespace> = Api::all(client.clone());
    configs.create(&PostParams::default(), &config("a", &json!({}))).await.unwrap();
    namespaces.delete("prod", &DeleteParams::default()).await.unwrap();
    assert_eq!(namespaces.get("prod").await.unwrap().status.unwrap().phase.as_deref(), Some("Terminating"));
    let refused = configs.create(&PostParams::default(), &config("b", &json!({}))).await.unwrap_err();
    let kube::Error::Api(status) = refused else { panic!("{refused}") };
    assert_eq!((status.code, &*status.details.unwrap().causes[0].reason), (403, "NamespaceTerminating"));
    let _workloads = Workloads::start(&server, Pace::default());
    assert!(
        server.wait_for(LIMIT, |store| store.all("configmaps").is_empty() && store.all("namespaces").is_empty()).await
    );
    let unknown: Api<ConfigMap> = Api::namespaced(client, "none");
    assert_eq!(code(unknown.create(&PostParams::default(), &config("a", &json!({}))).await), 404);
}

#[tokio::test]
async fn pods_go_where_the_default_scheduler_would_put_them() {
    let (server, client) = cluster().await;
    {
        let mut store = server.store();
        for name in ["node-1", "node-2", "node-3"] {
            store.create("nodes", objects::node(name));
        }
        store.edit(&Id::new("nodes", "", "node-1"), |node| node["spec"]["unschedulable"] = json!(true));
        store.edit(&Id::new("nodes", "", "node-2"), |node| {
            node["spec"]["taints"] = json!([{"key": "gpu", "effect": "NoSchedule"}]);
        });
    }
    let _workloads = Workloads::start(&server, Pace::default());
    let api: Api<Pod> = Api::namespaced(client, "prod");
    let mut large = pod("large");
    large.spec.as_mut().unwrap().containers[0].resources = object(json!({"requests": {"cpu": "3"}}));
    api.create(&PostParams::default(), &large).await.unwrap();
    let place = |store: &Store, name: &str| {
        store.get(&Id::new("pods", "prod", name)).unwrap()["spec"]["nodeName"].as_str().map(str::to_owned)
    };
    assert!(server.wait_for(LIMIT, |store| place(store, "large").is_some()).await);
    assert_eq!(place(&server.store(), "large").as_deref(), Some("node-3"));
    let mut second = large.clone();
    second.metadata.name = Some("second".to_owned());
    api.create(&PostParams::default(), &second).await.unwrap();
    let message = |store: &Store| {
        let condition = &store.get(&Id::new("pods", "prod", "second")).unwrap()["status"]["conditions"][0];
        condition["message"].as_str().unwrap_or_default().to_owned()
    };
    assert!(server.wait_for(LIMIT, |store| !message(store).is_empty()).await);
    let says = message(&server.store());
    assert!(says.starts_with("0/3 nodes are available: ") && says.contains("1 Insufficient cpu"), "{says}");
    // Room makes it fit.
    api.delete("large", &DeleteParams::default()).await.unwrap();
    assert!(server.wait_for(LIMIT, |store| place(store, "second").is_some()).await);
}

#[tokio::test]
async fn evictions_keep_to_disruption_budgets() {
    let (server, client) = cluster().await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), "prod");
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(client, "prod");
    let budget = json!({"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"app": "web"}}}});
    budgets.create(&PostParams::default(), &object(budget)).await.unwrap();
    for name in ["web", "other"] {
        pods.create(&PostParams::default(), &pod(name)).await.unwrap();
    }
    pods.evict("other", &EvictParams::default()).await.unwrap();
    assert_eq!(code(pods.evict("web", &EvictParams::default()).await), 429);
    server.store().edit(&Id::new("poddisruptionbudgets", "prod", "web"), |budget| {
        budget["status"] = json!({"disruptionsAllowed": 1});
    });
    pods.evict("web", &EvictParams::default()).await.unwrap();
    let store = server.store();
    assert!(store.all("pods").is_empty());
    assert_eq!(store.writes.last().unwrap().subresource.as_deref(), Some("eviction"));
}

#[tokio::test]
async fn what_cannot_be_read_or_done_is_refused() {
    let (server, client) = cluster().await;
    let send = async |method: &str, path: &str, body: &str| {
        let request =
            axum::http::Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = request.body(kube::client::Body::from(body.as_bytes().to_vec())).unwrap();
        client.send(request).await.unwrap().status().as_u16()
    };
    let configs = "/api/v1/namespaces/prod/configmaps";
    for (method, path, body, code) in [
        ("POST", configs, "{", 400),
        ("POST", configs, "[]", 400),
        ("POST", configs, r#"{"metadata": "none"}"#, 400),
        ("POST", configs, r#"{"metadata": {"name": "a", "resourceVersion": "1"}}"#, 400),
        ("POST", configs, r#"{"kind": "Secret", "metadata": {"name": "a"}}"#, 400),
        ("POST", configs, r#"{"metadata": {"name": "a", "namespace": "lab"}}"#, 400),
        ("POST", configs, r#"{"metadata": {}}"#, 422),
        ("POST", "/api/v1/configmaps", r#"{"metadata": {"name": "a"}}"#, 400),
        ("POST", "/api/v1/namespaces/prod/pods", r#"{"metadata": {"name": "a"}}"#, 422),
        ("POST", "/api/v1/namespaces/prod/configmaps?dryRun=All", r#"{"metadata": {"name": "a"}}"#, 400),
        ("PUT", "/api/v1/namespaces/prod/configmaps/a", r#"{"metadata": {"name": "a"}}"#, 404),
        ("PATCH", "/api/v1/namespaces/none", r#"{"metadata": {}}"#, 404),
        ("PATCH", "/api/v1/namespaces/prod/status", "{}", 415),
        ("DELETE", "/api/v1/namespaces/prod/configmaps/a", "", 404),
        ("GET", "/api/v1/nodes/none", "", 404),
        ("GET", "/api/v1/namespaces/prod/nodes", "", 404),
        ("GET", "/api/v2/nodes", "", 404),
        ("GET", "/apis/apps/v1/daemonsets?watch=true&resourceVersion=x", "", 400),
        ("GET", "/apis/apps/v1/daemonsets?labelSelector=a%20in", "", 400),
        ("GET", "/healthz", "", 200),
    ] {
        assert_eq!(send(method, path, body).await, code, "{method} {path} {body}");
    }
    assert!(server.store().all("configmaps").is_empty());
    // A patch that leaves no object, or is none.
    server.store().create("configmaps", json!({"metadata": {"namespace": "prod", "name": "a"}}));
    for (media_type, body, code) in [
        ("application/merge-patch+json", "[]", 400),
        ("application/strategic-merge-patch+json", "[]", 400),
        ("application/json-patch+json", r#"[{"op": "replace", "path": "", "value": []}]"#, 422),
        ("application/json-patch+json", r#"[{"op": "replace", "path": "/metadata", "value": "x"}]"#, 422),
        ("application/json-patch+json", "{}", 400),
    ] {
        let patch = axum::http::Request::patch(format!("{configs}/a")).header("content-type", media_type);
        let patch = patch.body(kube::client::Body::from(body.as_bytes().to_vec())).unwrap();
        assert_eq!(client.send(patch).await.unwrap().status().as_u16(), code, "{media_type} {body}");
    }
    let protobuf = axum::http::Request::post(configs).header("content-type", "application/vnd.kubernetes.protobuf");
    let protobuf = protobuf.body(kube::client::Body::from(b"k8s\0".to_vec())).unwrap();
    assert_eq!(client.send(protobuf).await.unwrap().status().as_u16(), 415);
}

#[tokio::test]
async fn faults_come_as_often_as_they_should_and_are_what_they_say() {
    let (server, client) = cluster().await;
    let api: Api<ConfigMap> = Api::namespaced(client, "prod");
    server.store().faults = Faults { refused: 0.3, conflict: 0.2, done_and_failed: 0.1, ..Faults::default() };
    let mut codes = BTreeMap::<u16, u32>::new();
    for number in 0..400 {
        let outcome = api.create(&PostParams::default(), &config(&format!("c-{number}"), &json!({}))).await;
        *codes.entry(if outcome.is_ok() { 201 } else { code(outcome) }).or_default() += 1;
    }
    // 30 % and 7 % of 400 (0.7 · 0.8 · 0.1), 14 % (0.7 · 0.2), and the rest; the seed is fixed.
    assert!((110..190).contains(&codes[&500]) && (35..80).contains(&codes[&409]), "{codes:?}");
    let made = u32::try_from(server.store().all("configmaps").len()).unwrap();
    assert!(made > codes[&201] && made < 400, "{made}: some were made though they seemed to fail; {codes:?}");
    server.store().faults = Faults { writes_left: Some(1), ..Faults::default() };
    api.create(&PostParams::default(), &config("last", &json!({}))).await.unwrap();
    let hangs = tokio::time::timeout(Duration::from_millis(200), api.delete("last", &DeleteParams::default())).await;
    assert!(hangs.is_err());
}
