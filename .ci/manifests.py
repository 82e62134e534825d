"""The checks of .ci/manifests, which installs what they need."""

import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import helm_python
import kubernetes_validate
import yaml

TOOLS = Path(sys.argv[1])
CHART = Path("controller/chart")
DEPLOY = Path("controller/deploy")
RELEASE = {"name": "daemonplan-controller", "namespace": "kube-system"}
# The oldest and the newest version whose schemas there are, and the one in between.
KUBERNETES = ["1.25", "1.31", "1.37"]
OPERATOR = "monitoring.coreos.com/v1"
# Checkov's rules that do not hold here, and why.
SKIPPED = {
    "CKV_K8S_11": "a CPU limit slows a controller down when it has the most to do",
    "CKV_K8S_15": "the tag is a version, so it needs no pull at each start",
    "CKV_K8S_19": "it must run before the pod network",
    "CKV_K8S_38": "it talks to the API server",
    "CKV_K8S_43": "the digest is that of the user's image: image.digest",
    "CKV2_K8S_6": "a NetworkPolicy does not apply to the host's network",
}
# Values that are refused, each with a part of the message.
REFUSED = [
    ({"replica": 3}, "'replica' not allowed"),
    ({"image": {"tags": "1"}}, "'tags' not allowed"),
    ({"replicas": "2"}, "got string, want integer"),
    ({"shards": 0}, "minimum"),
    ({"hostNetwork": "no"}, "got string, want boolean"),
    ({"namespaces": ["Not_A_Name"]}, "pattern"),
    ({"namespaces": ["a", "a"]}, "equal"),
    ({"listen": {"port": 80}}, "minimum"),
    ({"listen": {"address": "localhost"}}, "must be one of"),
    ({"image": {"digest": "sha256:1"}}, "pattern"),
    ({"policies": {"Canary": 1}}, "propertyName"),
    ({"policies": {"canary": [1]}}, "got array"),
    ({"podLabels": {"a": 1}}, "got number, want string"),
    ({"serviceMonitor": {"interval": "often"}}, "pattern"),
    ({"namespaces": ["a"], "namespaceSelector": "a=b"}, "exclude each other"),
    ({"networkPolicy": {"enabled": True}}, "hostNetwork: false"),
    ({"listen": {"address": "127.0.0.1"}, "hostNetwork": False}, "the kubelet's probes"),
    ({"listen": {"address": "127.0.0.1"}, "serviceMonitor": {"enabled": True}}, "Prometheus does not reach"),
    ({"prometheusRule": {"enabled": True}}, "needs serviceMonitor.enabled"),
    ({"serviceAccount": {"create": False}}, "serviceAccount.name is required"),
]
MATRIX = {path.name: yaml.safe_load(path.read_text()) for path in sorted(CHART.glob("ci/*-values.yaml"))}
COMPONENTS = sorted(f"components/{path.name}" for path in (DEPLOY / "components").iterdir())
passed = failed = 0


def check(name, errors_of, *args):
    """Runs, counts and prints a check: a function that returns its errors."""
    global passed, failed
    try:
        errors = list(errors_of(*args))
    except (helm_python.HelmError, yaml.YAMLError, subprocess.CalledProcessError) as error:
        errors = [getattr(error, "stderr", None) or error]
    passed, failed = passed + (not errors), failed + bool(errors)
    print("failed" if errors else "ok    ", name, flush=True)
    for error in errors:
        print("       ", str(error).strip().replace("\n", "\n        "))


def render(values):
    """Returns the rendered texts by path."""
    with helm_python.Chart.load(CHART) as chart:
        return chart.render(values, **RELEASE)


def objects(values):
    texts = (text for path, text in render(values).items() if path.endswith(".yaml"))
    return [one for text in texts for one in yaml.safe_load_all(text) if one]


def run(*command, **options):
    """Runs a program; returns what it printed if it failed."""
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, **options)
    return [done.stdout + done.stderr] if done.returncode else []


def lint(values):
    report = helm_python.lint(CHART, values, strict=True)
    return [one["error"] for one in report["messages"] if one["severity"] >= 2]


def refusal(values, message):
    try:
        render(values)
    except helm_python.HelmError as error:
        return [] if message in str(error) else [f"expected {message!r} in: {error}"]
    return ["not refused"]


def schemas(values):
    return invalid(objects(values))


def invalid(objects):
    for one in objects:
        if one["apiVersion"] == OPERATOR:
            continue
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(one, version, strict=True)
            except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
                yield f"{one['kind']} {one['metadata']['name']}, Kubernetes {version}: {error.message}"


def operator_types(values):
    """The Prometheus operator's schemas: types, patterns and required keys, but not unknown keys."""
    script = """import * as all from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
        for (const one of JSON.parse(process.argv[1])) new all[one.kind](one).validate();"""
    ours = [one for one in objects(values) if one["apiVersion"] == OPERATOR]
    if {one["kind"] for one in ours} != {"ServiceMonitor", "PrometheusRule"}:
        yield f"expected a ServiceMonitor and a PrometheusRule, found {[one['kind'] for one in ours]}"
    yield from run("node", "--input-type=module", "-e", script, json.dumps(ours), cwd=TOOLS)


def deployments(objects):
    return [one for one in objects if one["kind"] == "Deployment"]


def reachable(objects, monitored):
    """Whether the kubelet's probes, and Prometheus if `monitored`, reach what the controller listens on."""
    for deployment in deployments(objects):
        pod = deployment["spec"]["template"]["spec"]
        container = pod["containers"][0]
        address, port = container["args"][0].removeprefix("--listen=").rsplit(":", 1)
        local = address == "127.0.0.1"
        hosts = {container[probe]["httpGet"].get("host", "") for probe in ("livenessProbe", "readinessProbe")}
        if int(port) != container["ports"][0]["containerPort"]:
            yield f"listens on {port}, not on the container's port"
        if hosts != {address if local else ""}:
            yield f"listens on {address}, probes ask {hosts}"
        if local and (monitored or not pod["hostNetwork"]):
            yield f"listens on {address}, where it is not reached"


def restricted(values):
    """The pod security standard "restricted", apart from the host's network."""
    for deployment in deployments(objects(values)):
        pod = deployment["spec"]["template"]["spec"]
        [container] = pod["containers"]
        everywhere = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        each = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        if not everywhere.items() <= pod["securityContext"].items():
            yield f"expected {everywhere} in {pod['securityContext']}"
        if not each.items() <= container["securityContext"].items() or "volumes" in pod:
            yield f"expected {each} in {container['securityContext']}, and no volumes"


def listening():
    choices = itertools.product((True, False), (True, False), ("", "127.0.0.1", "0.0.0.0", "[::]"))
    for host, monitored, address in choices:
        values = {"hostNetwork": host, "serviceMonitor": {"enabled": monitored}, "listen": {"address": address}}
        if address == "127.0.0.1" and (monitored or not host):
            continue  # refused, see REFUSED
        yield from reachable(objects(values), monitored)


def flags(values):
    """Whether the controller has the flags of its containers, and a lease that it may use."""
    sources = Path("controller/src/config.rs").read_text() + Path("src/flags.rs").read_text()
    rendered = objects(values)
    leases = {name for one in rendered if one["kind"] == "Role" for rule in one["rules"] if "leases" in rule["resources"]
              for name in rule.get("resourceNames", [])}
    for deployment in deployments(rendered):
        args = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        flags = dict(arg.removeprefix("--").partition("=")[::2] for arg in args)
        yield from (f"not the number as it was given: {arg}" for arg in args if re.search(r"\de\+\d", arg))
        for name in flags:
            if not re.search(rf"^    (pub )?{name.replace('-', '_')}: |long = \"{name}\"", sources, re.MULTILINE):
                yield f"{deployment['metadata']['name']}: the controller has no flag --{name}"
        lease = flags["lease-name"] + ("-" + flags["shard"].split("/")[0] if "shard" in flags else "")
        if "dry-run" not in flags and lease not in leases:
            yield f"{deployment['metadata']['name']}: no right to the lease {lease}, but to {leases}"


def rules(values, directory):
    """Whether promtool can read the alerts, and the controller has their metrics."""
    [rule] = [one for one in objects(values) if one["kind"] == "PrometheusRule"]
    (directory / "rules.yaml").write_text(yaml.safe_dump(rule["spec"]))
    text = Path("controller/src/metrics.rs").read_text()
    for name in set(re.findall(r"daemonplan_(\w+?)(?:_total)?\{", str(rule["spec"]))):
        if f'"{name}"' not in text:
            yield f"the controller has no metric daemonplan_{name}"
    yield from run("promtool", "check", "rules", directory / "rules.yaml")


def built(directory, overlay):
    """Returns the objects that kustomize builds of an overlay over a copy of the base, since it takes only relative paths."""
    subprocess.run(["cp", "-r", DEPLOY / "base", DEPLOY / "components", directory], check=True)
    (directory / "kustomization.yaml").write_text(yaml.safe_dump({"resources": ["base"], **overlay}))
    command = [TOOLS / "kubectl", "kustomize", directory]
    return list(yaml.safe_load_all(subprocess.run(command, check=True, text=True, capture_output=True).stdout))


def kustomize(directory, components):
    objects = built(directory, {"components": components})
    return [*invalid(objects), *reachable(objects, "components/monitoring" in components)]


def overlay(directory):
    """A user's overlay sets the namespace everywhere, the image, and a flag."""
    objects = built(directory, {
        "components": COMPONENTS,
        "namespace": "daemonsets",
        "images": [{"name": "daemonplan-controller", "newName": "registry.example.com/controller", "newTag": "1"}],
        "patches": [{
            "target": {"kind": "Deployment"},
            "patch": "- {op: add, path: /spec/template/spec/containers/0/args/-, value: --dry-run}",
        }],
    })
    yield from invalid(objects)
    yield from reachable(objects, True)
    yield from (f"names the old namespace: {one}" for one in objects if "kube-system" in str(one))
    [container] = deployments(objects)[0]["spec"]["template"]["spec"]["containers"]
    if container["image"] != "registry.example.com/controller:1" or container["args"][-1] != "--dry-run":
        yield f"image or flag not set: {container}"


def installed(directory):
    """Helm and kubectl install, change and remove the controller in the cluster in memory of the tests."""
    # With the features of the tests, which have built it.
    yield from run("cargo", "build", "--locked", "--quiet", "--workspace", "--features", "daemonplan/k8s-openapi", "--example", "cluster")
    config, program = directory / "kubeconfig", Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "debug/examples/cluster"
    cluster = subprocess.Popen([program, config, "3", "0"], stdout=subprocess.DEVNULL)
    kubectl = [TOOLS / "kubectl", "--kubeconfig", config]
    try:
        while not (config.exists() and config.read_text()):
            time.sleep(0.05)
        namespace = directory / "namespace.yaml"
        namespace.write_text(json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": RELEASE["namespace"]}}))
        yield from run(*kubectl, "apply", "--filename", namespace)

        def deployments_found():
            listed = subprocess.run([*kubectl, "get", "deployments", "--all-namespaces", "--output", "name"], capture_output=True, text=True)
            return sorted(listed.stdout.split())

        # Its releases are kept in memory: as Secrets, Helm would send them as Protobuf.
        with helm_python.Config(kubeconfig_path=str(config), namespace=RELEASE["namespace"], storage_driver="memory") as helm:
            helm.install(str(CHART), RELEASE["name"], {"podDisruptionBudget": {"enabled": True}})
            if deployments_found() != ["deployment.apps/daemonplan-controller"]:
                yield f"after the installation: {deployments_found()}"
            helm.upgrade(str(CHART), RELEASE["name"], {"shards": 2})
            if deployments_found() != ["deployment.apps/daemonplan-controller-0", "deployment.apps/daemonplan-controller-1"]:
                yield f"with two shards: {deployments_found()}"
            helm.uninstall(RELEASE["name"])
            if deployments_found():
                yield f"after the removal: {deployments_found()}"
        for again in "created", "unchanged":
            applied = subprocess.run([*kubectl, "apply", "--kustomize", DEPLOY / "base"], capture_output=True, text=True)
            if f"deployment.apps/daemonplan-controller {again}" not in applied.stdout:
                yield f"kubectl apply -k, expected {again}: {applied.stdout}{applied.stderr}"
    finally:
        cluster.kill()
        cluster.wait()


def documented():
    """The keys of values.yaml and those of the README's table are the same."""
    def leaves(values, prefix=""):
        for key, value in values.items():
            yield from leaves(value, f"{prefix}{key}.") if key in nested else [prefix + key]
    nested = {"image", "listen", "serviceAccount", "podDisruptionBudget", "networkPolicy", "serviceMonitor", "prometheusRule"}
    ours = set(leaves(yaml.safe_load((CHART / "values.yaml").read_text())))
    table = set(re.findall(r"^\| `([\w.]+)`", (CHART / "README.md").read_text(), re.MULTILINE))
    return [f"in only one of values.yaml and README.md: {key}" for key in sorted(ours ^ table)]


def main():
    with tempfile.TemporaryDirectory() as directory:
        directory = Path(directory)
        for name, values in MATRIX.items():
            check(f"{name}: lint", lint, values)
            check(f"{name}: Kubernetes' schemas {', '.join(KUBERNETES)}", schemas, values)
            check(f"{name}: flags and leases", flags, values)
            check(f"{name}: pod security", restricted, values)
            if values.get("prometheusRule"):
                check(f"{name}: alerts", rules, values, directory)
                check(f"{name}: the Prometheus operator's types", operator_types, values)
        for values, message in REFUSED:
            check(f"refused: {json.dumps(values)}", refusal, values, message)
        check("probes and Prometheus reach the address", listening)
        check("README.md lists all values", documented)
        check("controller/deploy is up to date", run, sys.executable, DEPLOY / "render", "--check")
        for components in [[], *([one] for one in COMPONENTS), COMPONENTS]:
            check(f"kustomize: {' + '.join(['base', *components])}", kustomize, directory, components)
        check("kustomize: a user's overlay", overlay, directory)
        monitored = {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}
        check("default alerts", rules, monitored, directory)
        test = directory / "test.yaml"
        test.write_text((CHART / "ci/alerts.test.yaml").read_text())
        check("default alerts: what they fire at", run, "promtool", "test", "rules", test)
        check("Helm and kubectl install it", installed, directory)
        check("checkov", run, TOOLS / "checkov", "--framework", "kubernetes", "--compact", "--quiet", "--skip-download",
              "--directory", DEPLOY / "base", "--skip-check", ",".join(SKIPPED))
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
