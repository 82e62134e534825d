//! The page in a real browser: search, live changes, keyboard, a phone.
//!
//! `cargo test -p daemonplan-controller --features browser --test browser` starts `chromedriver`, which starts Chromium.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking

mod harness;

use std::{
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    time::Duration,
};

use daemonplan_testing::{
    Id, Pace, Server, Workloads,
    daemonsets::{roll_out, unsettled},
    objects::running,
};
use fantoccini::{Client, ClientBuilder, Locator, key::Key};
use harness::{Process, cluster, controller, settle, settled_daemonsets};
use serde_json::{Value, json};
use tokio::time;

const LIMIT: Duration = Duration::from_mins(1);

/// The browser, its driver, and a controller of 200 DaemonSets.
struct Stage {
    browser: Client,
    _driver: Driver,
    server: Server,
    process: Process,
    _workloads: Workloads,
}

/// The driver and the browser that it starts: one process group, which ends with this value.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        Command::new("kill").args(["-KILL", "--", &group]).status().unwrap();
        self.0.wait().unwrap();
    }
}

async fn stage(flags: &str) -> Stage {
    let (server, workloads) = cluster(3, Pace::default()).await;
    {
        let mut store = server.store();
        for (node, _) in store.all("nodes") {
            store.edit(&node, |node| node["status"]["allocatable"]["pods"] = json!("1000"));
        }
        settled_daemonsets(&mut store, 200);
    }
    let process = controller(&server, &format!("--no-leader-election {flags}"));
    settle(&server, LIMIT, |store| unsettled(store, |_, _| true)).await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let driver =
        Command::new("chromedriver").arg(format!("--port={port}")).stdout(Stdio::null()).process_group(0).spawn();
    let driver = Driver(driver.expect("chromedriver must be installed"));
    let options = json!({"args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]});
    let mut capabilities = serde_json::Map::from_iter([("goog:chromeOptions".to_owned(), options)]);
    capabilities.insert("goog:loggingPrefs".to_owned(), json!({"browser": "ALL"}));
    for _ in 0..100 {
        let mut builder = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
        builder.capabilities(capabilities.clone());
        if let Ok(browser) = builder.connect(&format!("http://127.0.0.1:{port}")).await {
            return Stage { browser, _driver: driver, server, process, _workloads: workloads };
        }
        time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the browser did not start");
}

impl Stage {
    async fn open(&self, path: &str) {
        self.browser.goto(&format!("http://{}{path}", self.process.address)).await.unwrap();
    }

    /// Evaluates an expression in the page.
    async fn js(&self, expression: &str) -> Value {
        self.browser.execute(&format!("return {expression};"), Vec::new()).await.unwrap()
    }

    /// Waits until an expression of the page has a value.
    async fn until(&self, expression: &str, value: impl Into<Value>) {
        let value = value.into();
        let mut last = Value::Null;
        for _ in 0..400 {
            last = self.js(expression).await;
            if last == value {
                return;
            }
            time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{expression} is {last}, expected {value}");
    }

    /// Presses keys wherever the focus is.
    async fn press(&self, keys: &str) {
        self.browser.active_element().await.unwrap().send_keys(keys).await.unwrap();
    }

    /// Asserts that nothing is wider than the window, and takes a picture if `PICTURES` names a directory.
    async fn assert_fits(&self, name: &str) {
        let overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(self.js(overflow).await, 0, "{name} is wider than the screen");
        if let Ok(directory) = std::env::var("PICTURES") {
            let picture = self.browser.screenshot().await.unwrap();
            std::fs::write(format!("{directory}/{name}.png"), picture).unwrap();
        }
    }
}

const ROWS: &str = "document.querySelectorAll('#live tbody tr').length";
const FOCUSED: &str = "document.activeElement.id || document.activeElement.getAttribute('href')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_daemonsets_are_searched_by_keyboard() {
    let stage = stage("").await;
    stage.open("/").await;
    stage.until(ROWS, 200).await;
    stage.js("window.mark = 'the same page'").await;
    stage.press("/").await;
    stage.until(FOCUSED, "q").await;
    stage.press("agent-17").await;
    stage.until(ROWS, 11).await;
    assert_eq!(stage.js("location.search").await, "?q=agent-17");
    assert_eq!(stage.js("document.querySelector('#live [role=status]').textContent").await, "11 of 200 DaemonSets");
    stage.assert_fits("search").await;
    // Enter leaves the search; the next stop of Tab is the first hit, which Enter opens.
    stage.press(&Key::Enter.to_string()).await;
    stage.until(FOCUSED, "live").await;
    stage.press(&Key::Tab.to_string()).await;
    stage.until(FOCUSED, "/daemonsets/prod/agent-17").await;
    stage.press(&Key::Escape.to_string()).await;
    stage.until(ROWS, 200).await;
    assert_eq!(stage.js("location.search").await, "");
    assert_eq!(stage.js("window.mark").await, "the same page");
    stage.until(FOCUSED, "/daemonsets/prod/agent-17").await;
    stage.press(&Key::Enter.to_string()).await;
    stage.until("location.pathname", "/daemonsets/prod/agent-17").await;
    // A search can be linked to.
    stage.open("/?q=agent-19&state=up+to+date").await;
    stage.until(ROWS, 11).await;
    assert_eq!(stage.js("document.getElementById('state').value").await, "up to date");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_shows_without_reload_and_with_its_forecast() {
    let stage = stage("").await;
    let agent = Id::new("daemonsets", "prod", "agent-7");
    stage.open("/").await;
    stage.until(ROWS, 200).await;
    stage.js("window.mark = 'the same page'").await;
    let badge = |name: &str| {
        format!(
            "document.querySelector('a[href=\"/daemonsets/prod/{name}\"]').closest('tr').querySelector('.badge').textContent"
        )
    };
    stage.until(&badge("agent-7"), "up to date").await;
    // The link that has the focus keeps it.
    stage.js("document.querySelector('a[href=\"/daemonsets/prod/agent-9\"]').focus()").await;
    roll_out(&mut stage.server.store(), &agent, "registry/agent:crashes");
    stage.until(&badge("agent-7"), "rolling out").await;
    assert_eq!(stage.js("window.mark").await, "the same page");
    assert_eq!(stage.js(FOCUSED).await, "/daemonsets/prod/agent-9");

    stage.open("/daemonsets/prod/agent-7").await;
    stage.js("window.mark = 'the same page'").await;
    stage.until("document.querySelectorAll('figure polygon').length", 3).await;
    let fill = "getComputedStyle(document.querySelector('polygon.new')).fill";
    assert_ne!(stage.js(fill).await, "rgb(0, 0, 0)", "the chart has its colours");
    stage.assert_fits("update").await;
    // The new template is mended: the page follows to the end.
    roll_out(&mut stage.server.store(), &agent, "registry/agent:3");
    stage.until("document.querySelector('.badge').textContent", "up to date").await;
    stage.until("document.querySelectorAll('figure').length", 0).await;
    assert_eq!(stage.js("window.mark").await, "the same page");
    // The page says when it is no longer up to date, and when the DaemonSet is gone.
    stage.server.store().remove(&agent);
    stage.until("document.querySelector('#live .bad')?.textContent", "DaemonSet prod/agent-7 not found").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_fits_a_phone_and_says_why_pods_wait() {
    let stage = stage("--explain-pending").await;
    {
        let mut store = stage.server.store();
        let agent = Id::new("daemonsets", "prod", "agent-3");
        store.edit(&agent, |daemonset| {
            daemonset["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "64"}});
        });
        for (pod, _) in store.all("pods").into_iter().filter(|(id, _)| id.name.starts_with("agent-5-")) {
            store.edit(&pod, |pod| pod["status"] = running(false));
        }
    }
    stage.browser.set_window_size(390, 844).await.unwrap();
    stage.open("/").await;
    stage.until(ROWS, 200).await;
    stage.assert_fits("phone-list").await;
    // Without columns, each number says what it is.
    let label = "getComputedStyle(document.querySelector('#live td.number'), '::before').content";
    assert_eq!(stage.js(label).await, "\"Desired \"");
    stage.browser.find(Locator::Css("a[href='/daemonsets/prod/agent-3']")).await.unwrap().click().await.unwrap();
    stage.until("document.body.textContent.includes('Insufficient cpu')", true).await;
    stage.until("document.body.textContent.includes('fits if it requests')", true).await;
    // The forecast knows that this never ends.
    stage.until("document.body.textContent.includes('Stuck')", true).await;
    stage.assert_fits("phone-pending").await;
    stage.open("/daemonsets/prod/agent-3?node=node-0000").await;
    stage.until("document.querySelector('h1').textContent", "node-0000").await;
    stage.assert_fits("phone-node").await;
    // What is there to click is named for those who cannot see it.
    stage.open("/").await;
    let unnamed = "[...document.querySelectorAll('a, input, select, button')].filter(one => \
        !(one.textContent.trim() || one.labels?.length || one.ariaLabel)).length";
    assert_eq!(stage.js(unnamed).await, 0);
    assert_eq!(stage.js("document.documentElement.lang").await, "en");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_says_that_the_controller_is_gone() {
    let stage = stage("").await;
    stage.open("/").await;
    stage.until(ROWS, 200).await;
    stage.until("document.getElementById('connection').textContent", "").await;
    let Stage { browser, .. } = &stage;
    let browser = browser.clone();
    // The driver outlives the controller, which is killed.
    let mut stage = stage;
    let other = controller(&stage.server, "--dry-run");
    std::mem::replace(&mut stage.process, other).kill();
    for _ in 0..400 {
        let text =
            browser.execute("return document.getElementById('connection').textContent;", Vec::new()).await.unwrap();
        if text == "Not up to date: the controller does not answer." {
            return;
        }
        time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the page must say that it is not up to date");
}
