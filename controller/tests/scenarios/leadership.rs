//! Several replicas.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_replicas_one_writes_and_the_other_takes_over() {
    const LEASE: &str = "--lease-duration 2 --renew-deadline 1 --retry-period 0.1 --lease-namespace prod";
    let (server, _life) = start(5, Pace::default()).await;
    let agent = server.store().create("daemonsets", daemonset("prod", "agent"));
    let holder = |server: &Server| {
        let lease =
            server.store().get(&Id::new("leases", "prod", "daemonplan-controller")).cloned().unwrap_or_default();
        lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
    };
    let first = controller(&server, &format!("{LEASE} --identity first"));
    settle(&server, LIMIT, everywhere).await;
    let second = controller(&server, &format!("{LEASE} --identity second"));
    wait_until_ready(&second).await;
    assert_eq!(holder(&server), "first");
    assert!(page(&second, "/metrics").await.1.contains("daemonplan_leader 0"));
    // The leader is killed, and the other replica waits until the lease expires.
    first.kill();
    roll_out(&mut server.store(), &agent, "registry/agent:2");
    settle(&server, LIMIT, everywhere).await;
    assert_eq!(holder(&server), "second");
    // The leader is shut down during a rollout and releases the lease.
    let third = controller(&server, &format!("{LEASE} --identity third"));
    roll_out(&mut server.store(), &agent, "registry/agent:3");
    time::sleep(Duration::from_millis(100)).await;
    assert!(matches!(second.terminate(Duration::from_secs(10)), Some(Ok(()))));
    assert!(["", "third"].contains(&&*holder(&server)), "{}", holder(&server));
    settle(&server, LIMIT, everywhere).await;
    assert_eq!(holder(&server), "third");
    // Another holder takes the lease: the replica stands by and writes nothing.
    server.store().edit(&Id::new("leases", "prod", "daemonplan-controller"), |lease| {
        lease["spec"]["holderIdentity"] = json!("other");
        lease["spec"]["leaseDurationSeconds"] = json!(3600);
    });
    time::sleep(Duration::from_millis(500)).await;
    let before = own_writes(&server.store());
    roll_out(&mut server.store(), &agent, "registry/agent:4");
    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(own_writes(&server.store()), before);
    assert!(page(&third, "/metrics").await.1.contains("daemonplan_leader 0"));
    assert_no_violations(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_cannot_renew_its_lease_stops_writing() {
    let (server, _life) = start(5, Pace::default()).await;
    let agent = server.store().create("daemonsets", daemonset("prod", "agent"));
    let process = controller(
        &server,
        "--lease-duration 3 --renew-deadline 1 --retry-period 0.1 --lease-namespace prod --identity first",
    );
    settle(&server, LIMIT, everywhere).await;
    server.store().faults.refused = 1.0;
    time::sleep(Duration::from_millis(1500)).await;
    assert!(page(&process, "/metrics").await.1.contains("daemonplan_leader 0"));
    server.store().faults.refused = 0.0;
    roll_out(&mut server.store(), &agent, "registry/agent:2");
    settle(&server, LIMIT, everywhere).await;
    assert_no_violations(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_controllers_without_leader_election_settle() {
    let (server, _life) = start(10, Pace::default()).await;
    server.store().faults.watch_lag = Duration::from_millis(10);
    let agent = server.store().create("daemonsets", daemonset("prod", "agent"));
    let _processes = [controller(&server, ALONE), controller(&server, ALONE)];
    settle(&server, LIMIT, everywhere).await;
    roll_out(&mut server.store(), &agent, "registry/agent:2");
    settle(&server, LIMIT, everywhere).await;
    assert_eq!(forbidden_writes(&server.store()), [""; 0]);
}
