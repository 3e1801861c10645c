//! What Kubernetes is given: confined pods, volumes and ports that fit together, a configuration that the server accepts.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use strongroom::cli::{self, Command};
use strongroom::config::{Config, Revocation};

use crate::deploy::{deploy, example};

const NAMESPACE: &str = "strongroom";

/// Every object of every file, in the order in which they are applied.
fn objects() -> Vec<Value> {
    let folder = deploy().join("kubernetes");
    let entries = [folder.clone(), folder.join("init")].map(|folder| fs::read_dir(folder).expect("a folder"));
    let mut files: Vec<PathBuf> = entries.into_iter().flatten().map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "yaml"));
    files.sort();
    assert_eq!(files.len(), 5, "{files:?}");
    let parse = |file: &PathBuf| {
        let text = fs::read_to_string(file).expect("text");
        serde_saphyr::from_multiple::<Value>(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    files.iter().flat_map(parse).collect()
}

fn all(objects: &[Value], kind: &str) -> Vec<Value> {
    objects.iter().filter(|object| object["kind"] == kind).cloned().collect()
}

/// The one object of that kind and name.
fn one(objects: &[Value], kind: &str, name: &str) -> Value {
    let mut found = all(objects, kind);
    found.retain(|object| object["metadata"]["name"] == name);
    assert_eq!(found.len(), 1, "{kind} {name}");
    found.remove(0)
}

/// What each pod is made from.
fn pods(objects: &[Value]) -> Vec<Value> {
    let sets = all(objects, "StatefulSet").into_iter().map(|set| set["spec"]["template"]["spec"].clone());
    let pods: Vec<_> = sets.chain(all(objects, "Pod").into_iter().map(|pod| pod["spec"].clone())).collect();
    assert_eq!(pods.len(), 2, "the vault, and who makes it");
    pods
}

/// What must be there: a key that is missing or misspelt would have every check of its items pass.
fn list(value: &Value) -> &[Value] {
    let items = value.as_array().unwrap_or_else(|| panic!("no list: {value}"));
    assert!(!items.is_empty(), "an empty list");
    items
}

fn texts(value: &Value) -> Vec<&str> {
    list(value).iter().map(|item| item.as_str().expect("a text")).collect()
}

fn names(value: &Value) -> BTreeSet<&str> {
    list(value).iter().map(|item| item["name"].as_str().expect("a name")).collect()
}

/// The configuration in the map, read as the server reads it.
fn configuration(objects: &[Value]) -> Config {
    let text = one(objects, "ConfigMap", "strongroom")["data"]["strongroom.toml"].as_str().expect("text").to_owned();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("strongroom.toml");
    strongroom::pki::write_private(&file, &text).expect("written");
    Config::load(&file).expect("the server accepts it")
}

#[test]
fn everything_lies_in_one_namespace_that_refuses_loose_pods() {
    let objects = objects();
    let namespace = one(&objects, "Namespace", NAMESPACE);
    assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    for object in objects.iter().filter(|object| object["kind"] != "Namespace") {
        assert_eq!(object["metadata"]["namespace"], NAMESPACE, "{object}");
        assert!(object["apiVersion"].is_string() && object["metadata"]["name"].is_string(), "{object}");
    }
    // Named, never contained; and nobody in the cluster is given a right.
    for kind in ["Secret", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"] {
        assert!(all(&objects, kind).is_empty(), "{kind}");
    }
    let account = one(&objects, "ServiceAccount", "strongroom");
    assert_eq!(account["automountServiceAccountToken"], false);
}

#[test]
fn pods_are_nobody_write_nothing_and_can_do_nothing() {
    for pod in pods(&objects()) {
        let context = &pod["securityContext"];
        assert_eq!(context["runAsNonRoot"], true);
        for id in ["runAsUser", "runAsGroup", "fsGroup"] {
            assert_eq!(context[id], 65_532, "{id}: as in the image");
        }
        assert_eq!(context["fsGroupChangePolicy"], "OnRootMismatch");
        assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!((&pod["serviceAccountName"], &pod["automountServiceAccountToken"]), (&json!("strongroom"), &json!(false)));
        for key in ["hostNetwork", "hostPID", "hostIPC", "initContainers", "shareProcessNamespace"] {
            assert!(pod[key].is_null(), "{key}");
        }
        for container in list(&pod["containers"]) {
            let context = &container["securityContext"];
            assert_eq!(context["allowPrivilegeEscalation"], false);
            assert_eq!(context["privileged"], false);
            assert_eq!(context["readOnlyRootFilesystem"], true);
            assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }));
            assert!(container["env"].is_null() && container["envFrom"].is_null(), "nothing comes by the environment");
            assert!(container["resources"]["requests"]["memory"].is_string() && container["resources"]["limits"]["memory"].is_string());
        }
    }
}

#[test]
fn every_mount_has_its_volume_and_every_file_its_mount() {
    let objects = objects();
    let set = one(&objects, "StatefulSet", "strongroom");
    let templates: BTreeSet<_> =
        list(&set["spec"]["volumeClaimTemplates"]).iter().map(|claim| claim["metadata"]["name"].as_str().expect("a name")).collect();
    assert_eq!(templates, BTreeSet::from(["audit", "data"]));
    let mut mounted = Vec::new();
    for (pod, templates) in pods(&objects).iter().zip([templates, BTreeSet::new()]) {
        let container = &pod["containers"][0];
        let volumes: BTreeSet<_> = names(&pod["volumes"]).into_iter().chain(templates).collect();
        assert_eq!(names(&container["volumeMounts"]), volumes);
        for mount in list(&container["volumeMounts"]) {
            let name = mount["name"].as_str().expect("a name");
            assert_eq!(mount["readOnly"] == true, !["data", "audit"].contains(&name), "{name}");
        }
        mounted.push(
            list(&container["volumeMounts"])
                .iter()
                .map(|mount| PathBuf::from(mount["mountPath"].as_str().expect("a path")))
                .collect::<Vec<_>>(),
        );
    }
    let config = configuration(&objects);
    let lists = config.tls.trust.iter().flat_map(|trust| match &trust.revocation {
        Revocation::Lists(files) => files.clone(),
        _ => panic!("the example has lists"),
    });
    let trusted: Vec<_> = config.tls.trust.iter().flat_map(|trust| trust.roots.clone()).chain(lists).collect();
    let folders = [config.data_folder.clone(), config.audit_folder.clone()];
    for path in [config.tls.certificate.clone(), config.tls.key.clone()].iter().chain(&trusted).chain(&folders) {
        // In a volume, not the volume itself: its mode is not the server's.
        assert!(mounted[0].iter().any(|mount| path.starts_with(mount) && path != mount), "{}", path.display());
    }
    for folder in &folders {
        assert!(mounted[1].iter().any(|mount| folder.starts_with(mount)), "{}: it is made there", folder.display());
    }
    // The files that the page and the comments have people make are those that the configuration names.
    let comments = fs::read_to_string(deploy().join("kubernetes/20-configuration.yaml")).expect("text");
    for path in &trusted {
        let name = path.file_name().expect("a file").to_str().expect("text");
        assert!(comments.contains(&format!("--from-file={name}")), "{name}");
    }
    let key = list(&pods(&objects)[0]["volumes"]).iter().find(|volume| volume["name"] == "server").expect("a volume").clone();
    assert_eq!(key["secret"]["secretName"], "strongroom-server");
    // In decimal, since versions of YAML differ on what 0440 is.
    assert_eq!(key["secret"]["defaultMode"], 0o440);
}

#[test]
fn the_maker_of_the_vault_fills_the_volumes_that_the_vault_takes() {
    let objects = objects();
    let set = one(&objects, "StatefulSet", "strongroom");
    for template in list(&set["spec"]["volumeClaimTemplates"]) {
        let name = template["metadata"]["name"].as_str().expect("a name");
        let claim = one(&objects, "PersistentVolumeClaim", &format!("{name}-strongroom-0"));
        assert_eq!(claim["spec"], template["spec"]);
        assert_eq!(template["spec"]["accessModes"], json!(["ReadWriteOncePod"]));
    }
    let [vault, maker] = [0, 1].map(|at| pods(&objects)[at]["containers"][0].clone());
    assert_eq!(vault["image"], maker["image"]);
    // Both are commands of this program, on the configuration that is mounted.
    let mounts = |container: &Value| list(&container["volumeMounts"]).iter().map(|mount| mount["mountPath"].clone()).collect::<Vec<_>>();
    for container in [&vault, &maker] {
        let words = ["strongroom"].into_iter().chain(texts(&container["args"])).map(OsString::from);
        let file = match cli::parse(words).expect("the program takes it").command {
            Command::Server(arguments) => arguments.config,
            Command::Init(arguments) => {
                assert!(arguments.passphrase_file.is_none() && arguments.administrators.len() >= 2 && !arguments.single_administrator);
                arguments.config
            }
            _ => panic!("neither server nor init"),
        };
        assert!(mounts(container).contains(&json!(file)), "{}", file.display());
    }
    assert_eq!((&maker["stdin"], &maker["tty"]), (&json!(true), &json!(true)), "the passphrase is typed");
}

#[test]
fn one_vault_that_nothing_restarts_for_being_sealed() {
    let objects = objects();
    let set = one(&objects, "StatefulSet", "strongroom")["spec"].clone();
    assert_eq!((&set["replicas"], &set["updateStrategy"]["type"]), (&json!(1), &json!("OnDelete")));
    assert_eq!(set["persistentVolumeClaimRetentionPolicy"], json!({ "whenDeleted": "Retain", "whenScaled": "Retain" }));
    assert_eq!(one(&objects, "PodDisruptionBudget", "strongroom")["spec"]["maxUnavailable"], 0);
    let pod = &set["template"]["spec"];
    let drain = configuration(&objects).limits.drain_timeout.as_secs();
    assert!(pod["terminationGracePeriodSeconds"].as_u64().is_some_and(|grace| grace > drain));
    let container = &pod["containers"][0];
    for (probe, path) in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"], json!({ "path": path, "port": "operations" }), "{probe}");
    }
}

#[test]
fn ports_are_those_that_are_listened_on() {
    let objects = objects();
    let (config, example) = (configuration(&objects), example());
    let operations = config.operations.expect("the kubelet asks");
    // The defaults, but on every address of the pod.
    assert_eq!((config.listen.port(), operations.port()), (example.listen.port(), example.operations.expect("told").port()));
    assert!(config.listen.ip().is_unspecified() && operations.ip().is_unspecified());
    let set = one(&objects, "StatefulSet", "strongroom")["spec"].clone();
    let ports = json!([
        { "name": "grpc", "containerPort": config.listen.port() },
        { "name": "operations", "containerPort": operations.port() },
    ]);
    assert_eq!(set["template"]["spec"]["containers"][0]["ports"], ports);
    for service in all(&objects, "Service") {
        for port in list(&service["spec"]["ports"]) {
            let expected = if port["name"] == "grpc" { config.listen.port() } else { operations.port() };
            assert_eq!((&port["port"], &port["targetPort"]), (&json!(expected), &port["name"]));
        }
    }
    // Backends meet only an open vault; custodians meet a sealed one.
    assert!(one(&objects, "Service", "strongroom")["spec"]["publishNotReadyAddresses"].is_null());
    let custodians = one(&objects, "Service", set["serviceName"].as_str().expect("a name"));
    assert_eq!(custodians["spec"]["publishNotReadyAddresses"], true);
    let labels = &set["template"]["metadata"]["labels"];
    for selector in all(&objects, "Service").iter().map(|service| service["spec"]["selector"].clone()).chain([
        set["selector"]["matchLabels"].clone(),
        one(&objects, "PodDisruptionBudget", "strongroom")["spec"]["selector"]["matchLabels"].clone(),
        one(&objects, "NetworkPolicy", "strongroom")["spec"]["podSelector"]["matchLabels"].clone(),
    ]) {
        assert_eq!(&selector, labels);
    }
}

#[test]
fn the_network_lets_in_what_is_labelled_and_lets_nothing_out() {
    let objects = objects();
    let both = json!(["Ingress", "Egress"]);
    let deny = one(&objects, "NetworkPolicy", "default-deny")["spec"].clone();
    assert_eq!(deny, json!({ "podSelector": {}, "policyTypes": both }));
    let policy = one(&objects, "NetworkPolicy", "strongroom")["spec"].clone();
    assert_eq!(policy["policyTypes"], both);
    assert!(policy["egress"].is_null(), "not even DNS");
    let config = configuration(&objects);
    let ports = [config.listen.port(), config.operations.expect("told").port()];
    let rules = list(&policy["ingress"]);
    assert_eq!(rules.len(), 2);
    for (rule, port) in rules.iter().zip(ports) {
        assert_eq!(rule["ports"], json!([{ "port": port, "protocol": "TCP" }]));
        let from = list(&rule["from"]);
        let is_named = |peer: &Value| peer["namespaceSelector"]["matchLabels"].as_object().is_some_and(|labels| !labels.is_empty());
        assert!(!from.is_empty() && from.iter().all(is_named), "from anywhere: {rule}");
    }
    assert!(rules[0]["from"][0]["podSelector"]["matchLabels"].is_object(), "backends are labelled one by one");
}

/// The image and the pods agree on who runs in it.
#[test]
fn the_user_of_the_image_is_the_user_of_the_pods() {
    let file = fs::read_to_string(deploy().join("container/Containerfile")).expect("text");
    let user = file.lines().find_map(|line| line.strip_prefix("USER ")).expect("a user");
    for pod in pods(&objects()) {
        let context = &pod["securityContext"];
        assert_eq!(format!("{}:{}", context["runAsUser"], context["runAsGroup"]), user);
    }
}
