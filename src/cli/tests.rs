use std::collections::BTreeSet;

use super::*;
use crate::client::Method;

fn words(line: &str) -> Vec<OsString> {
    std::iter::once("strongroom").chain(line.split_whitespace()).map(OsString::from).collect()
}

/// Every RPC and the command that makes it. A new RPC without a command does not compile.
fn command_line(method: Method) -> &'static str {
    match method {
        Method::CreateSecret => {
            "secret put wepay-prod/merchants/1 --provider wepay --subject 1 --scope send_money --type BEARER --label a=b --expires 30d"
        }
        Method::UpdateSecret => {
            "secret update wepay-prod/merchants/1 --expected-revision 7 --expires never --from-file token.txt --keep-newline"
        }
        Method::UpdateSecretMetadata => "secret label wepay-prod/merchants/1 tier=gold --remove trial",
        Method::RevealSecret => "secret get wepay-prod/merchants/1 --version 2 --reason asked --ticket T-1 --to token.txt --force",
        Method::RevealBatch => {
            "secret fetch wepay-prod/merchants/1 wepay-prod/merchants/2 --reason asked --ticket T-1 --to tokens.json --force"
        }
        Method::DescribeSecret => "secret describe wepay-prod/merchants/1",
        Method::ListSecrets => "secret list wepay-prod/merchants --limit 0",
        Method::ListSecretVersions => "secret versions wepay-prod/merchants/1",
        Method::FindSecrets => "secret find wepay-prod wepay 1",
        Method::WatchSecrets => "secret watch wepay-prod/merchants --after 7 --expiring-within 30d --count 1",
        Method::DisableSecret => "secret disable wepay-prod/merchants/1 --reason stolen",
        Method::EnableSecret => "secret enable wepay-prod/merchants/1",
        Method::DestroySecret => "secret destroy wepay-prod/merchants/1 --yes --expected-revision 7",
        Method::RestoreSecret => "secret restore wepay-prod/merchants/1",
        Method::PurgeSecret => "secret purge wepay-prod/merchants/1 --yes",
        Method::CreateNamespace => {
            "namespace create wepay-prod --environment production --versions-kept 5 --recovery-window 14d --require-post-quantum"
        }
        Method::DescribeNamespace => "namespace describe wepay-prod",
        Method::ListNamespaces => "namespace list",
        Method::CreateRole => "role create eu --grant reveal,describe:merchants/** --grant describe:** --description EU",
        Method::UpdateRole => "role update eu --grant describe:** --expected-revision 3",
        Method::DeleteRole => "role delete eu",
        Method::DescribeRole => "role describe eu",
        Method::ListRoles => "role list",
        Method::CreateBinding => {
            "binding grant --role reader --principal spiffe://people.example/alice --namespace wepay-prod --for 1h --reason asked"
        }
        Method::ConfirmBinding => "binding confirm 0123456789abcdef0123456789abcdef --reason known",
        Method::CreateBackup => "backup create vault.age --keep 35d --reason nightly",
        Method::ListBackups => "backup list --limit 0",
        Method::ListRecoveryRecipients => "backup recipients",
        Method::DeleteBinding => "binding revoke 0123456789abcdef0123456789abcdef --reason done",
        Method::ListBindings => "binding list --principal spiffe://people.example/alice --role reader --namespace wepay-prod",
        Method::RotateKey => "keys rotate wepay-prod --expected-version 3 --reason quarterly",
        Method::ListKeys => "keys list",
        Method::StartRewrap => "keys rewrap wepay-prod --reencrypt --rate 5000 --reason quarterly",
        Method::PauseRewrap => "keys pause wepay-prod --reason busy",
        Method::ResumeRewrap => "keys resume wepay-prod --rate 2000 --reason quiet",
        Method::ListRewraps => "keys status",
        Method::WatchRewrap => "keys status wepay-prod --follow",
        Method::GetStatus => "status",
        Method::DisableKey => "keys disable wepay-prod 3 --reason old",
        Method::EnableKey => "keys enable wepay-prod 3",
        Method::RetireKey => "keys retire wepay-prod 3 --reason old --to retired.txt",
        Method::CancelKeyRetirement => "keys keep wepay-prod 3",
        Method::GetKeyStatement => "keys statement wepay-prod 3",
        Method::CreateProposal => {
            "keys slot add --quorum 2/3 --recipient age1a --recipient age1b --recipient age1c --reason custodians --for 2d"
        }
        Method::ApproveProposal => "proposal approve 0123456789abcdef0123456789abcdef --yes --reason agreed",
        Method::WithdrawProposal => "proposal withdraw 0123456789abcdef0123456789abcdef --reason mistaken",
        Method::DescribeProposal => "proposal show 0123456789abcdef0123456789abcdef",
        Method::ListProposals => "proposal list --pending --limit 5",
        Method::ListSlots => "keys slot list",
        Method::TestSlot => "keys slot test --share-file -",
        Method::PresentSecret => "proposal present 0123456789abcdef0123456789abcdef --share --any-server-key",
        Method::CarryOutProposal => "proposal carry-out 0123456789abcdef0123456789abcdef --shares-to new --reason agreed",
        Method::ForgetShares => "unseal --forget-shares",
        Method::Unseal => "unseal --passphrase-file -",
        Method::Seal => "seal --reason intruder",
        Method::ListAuditEntries => {
            "audit show --since 7d --until 2026-11-24T08:00:00Z --principal spiffe://a/b --action reveal --resource wepay-prod \
             --method RevealSecret --decision deny --outcome ok --event denied --oldest-first --limit 5"
        }
    }
}

#[test]
fn every_rpc_has_a_command_of_its_own() {
    let lines: BTreeSet<_> = Method::ALL.iter().map(|method| command_line(*method)).collect();
    assert_eq!(lines.len(), Method::ALL.len());
    for line in lines {
        for output in ["", " --output json", " --profile p.toml --output=table"] {
            let parsed = Arguments::try_parse_from(words(&format!("{line}{output}")));
            assert!(matches!(parsed, Ok(Arguments { command: Command::Client(_), .. })), "{line}: {:?}", parsed.err());
        }
    }
}

#[test]
fn the_other_commands_parse_too() {
    for line in [
        "server --config strongroom.toml",
        "init --config strongroom.toml --passphrase-file - --administrator spiffe://a/b --administrator spiffe://a/c",
        "init --config strongroom.toml --administrator spiffe://a/b --single-administrator",
        "dev",
        "dev --dir /tmp/vault --listen 127.0.0.1:8443 --demo",
        "completion bash",
        "doctor --config strongroom.toml",
        "doctor --config strongroom.toml --profile doctor.toml --strict --output json",
        "pki init --workload-domain shop.example --operator-domain people.example --dir /media/ca/pki",
        "pki issue server spiffe://shop.example/strongroom --dns vault.internal --dns vault --ip 10.0.0.5 --ip ::1 --name server --out issued",
        "pki --dir ca issue workload spiffe://shop.example/a spiffe://shop.example/b --lifetime 14d --output json",
        "pki issue operator spiffe://people.example/alice --csr alice.csr",
        "pki renew issued/backend.pem --key backend.key --lifetime 12h --revoke-old",
        "pki revoke issued/backend.pem --reason key-compromise",
        "pki revoke --serial 5f0c6b1c --reason superseded",
        "pki revoke --id spiffe://people.example/alice",
        "pki list --all",
        "pki crl --days 7 --above 41",
        "secret expire wepay-prod/a never",
        "binding create --role auditor --principal spiffe://a/b --vault --no-end --reason standing --from 2026-11-24T08:00:00Z",
    ] {
        assert!(Arguments::try_parse_from(words(line)).is_ok(), "{line}");
    }
    Arguments::command().debug_assert();
}

#[test]
fn what_makes_no_sense_is_refused() {
    for line in [
        "secret put wepay-prod/a --provider wepay",
        "secret put wepay-prod/a --from-file f --from-stdin",
        "secret label wepay-prod/a",
        "secret get wepay-prod/a --force",
        "secret get wepay-prod/a --show --to f",
        "binding create --role r --principal spiffe://a/b --namespace n --vault --for 1h --reason x",
        "binding create --role r --principal spiffe://a/b --namespace n --reason x",
        "binding create --role r --principal spiffe://a/b --namespace n --for 1h --no-end --reason x",
        "binding create --role r --principal spiffe://a/b --for 1h --reason x",
        "binding create --role r --principal spiffe://a/b --namespace n --for 1h",
        "doctor",
        "role create r",
        "namespace create n",
        "init --config c",
        "pki",
        "pki init --workload-domain shop.example",
        "pki issue workload",
        "pki issue workload spiffe://shop.example/a --dns vault.internal",
        "pki issue server spiffe://shop.example/a spiffe://shop.example/b",
        "pki issue server spiffe://shop.example/a --dns *.shop..example",
        "pki issue server spiffe://shop.example/a --ip 10.0.0",
        "pki issue workload spiffe://shop.example/a --name ../a",
        "pki issue workload spiffe://shop.example/a --name .a",
        "pki revoke",
        "pki revoke a.pem --serial 5f",
        "pki revoke --serial 5f --id spiffe://a/b",
        "pki revoke a.pem --reason boredom",
        "pki crl --days -1",
        "audit show --event everything",
    ] {
        assert!(Arguments::try_parse_from(words(line)).is_err(), "{line}");
    }
}

/// Each way to put a secret on the command line, the canary standing for it.
const MISPLACED: &[&str] = &[
    "CANARY",
    "CANARY --output json",
    "help CANARY",
    "secret CANARY",
    "secret help CANARY",
    "secret put CANARY",
    "secret put wepay-prod/a CANARY",
    "secret put wepay-prod/a -- CANARY",
    "secret put wepay-prod/a --value CANARY",
    "secret put wepay-prod/a --value=CANARY",
    "secret put wepay-prod/a --CANARY",
    "secret put wepay-prod/a -CANARY",
    "secret put wepay-prod/a --from-stdin=CANARY",
    "secret put wepay-prod/a --keep-newline CANARY",
    "secret put wepay-prod/a --expires CANARY",
    "secret put wepay-prod/a --label CANARY",
    "secret put wepay-prod/a --from-fil CANARY",
    "secret update wepay-prod/a CANARY",
    "secret update wepay-prod/a --expected-revision CANARY",
    "secret list CANARY",
    "secret list wepay-prod --limit CANARY",
    "secret find CANARY wepay 1",
    "secret get wepay-prod/a --show=CANARY",
    "secret label wepay-prod/a CANARY",
    "unseal CANARY",
    "unseal --passphrase CANARY",
    "unseal --passphrase=CANARY",
    "unseal -p CANARY",
    "seal CANARY",
    "status CANARY",
    "keys rotate CANARY",
    "keys rotate wepay-prod --expected-version CANARY",
    "namespace create CANARY --environment stage",
    "namespace create a --environment CANARY",
    "namespace create a --environment stage --recovery-window CANARY",
    "role create CANARY --grant reveal:**",
    "role create a --grant CANARY",
    "role create a --grant reveal:CANARY**",
    "binding create --role CANARY",
    "binding create --principal CANARY",
    "binding create --until CANARY",
    "binding revoke CANARY",
    "audit show --decision CANARY",
    "audit show --method CANARY",
    "audit show --action CANARY",
    "completion CANARY",
    "pki CANARY",
    "pki init --workload-domain CANARY --operator-domain people.example",
    "pki issue CANARY",
    "pki issue server CANARY",
    "pki issue server spiffe://shop.example/a --dns CANARY/",
    "pki issue server spiffe://shop.example/a --ip CANARY",
    "pki issue workload spiffe://shop.example/a CANARY",
    "pki issue workload spiffe://shop.example/a --lifetime CANARY",
    "pki issue workload spiffe://shop.example/a --name CANARY/a",
    "pki revoke --id CANARY",
    "pki revoke a.pem --reason CANARY",
    "pki renew a.pem CANARY",
    "pki crl --days CANARY",
    "pki list CANARY",
    "dev --listen CANARY",
    "--output CANARY status",
    "--profile",
];

// immune: row-55
// immune: row-41
#[test]
fn a_secret_on_the_command_line_is_refused_and_not_repeated() {
    for line in MISPLACED {
        let error = Arguments::try_parse_from(words(line)).expect_err(line);
        for format in [Format::Table, Format::Json] {
            let text = CliError::Usage(usage::describe(&error)).render(format);
            assert!(!text.contains("CANARY") && text.contains("--help"), "{line}: {text}");
        }
    }
    for line in ["secret put wepay-prod/a CANARY", "unseal CANARY", "unseal --passphrase=CANARY", "secret put wepay-prod/a --value=CANARY"]
    {
        let text = usage::describe(&Arguments::try_parse_from(words(line)).expect_err(line));
        assert!(text.contains("standard input") && text.contains("history"), "{line}: {text}");
    }
}

#[test]
fn a_token_in_a_remark_is_refused_and_not_repeated() {
    let token = format!("STAGE_{}", "0a".repeat(32));
    for line in [
        "secret get wepay-prod/a --reason TOKEN",
        "secret put wepay-prod/TOKEN",
        "secret put wepay-prod/a --label key=TOKEN",
        "secret find a b TOKEN",
    ] {
        let error = Arguments::try_parse_from(words(&line.replace("TOKEN", &token))).expect_err(line);
        let text = usage::describe(&error);
        assert!(!text.contains("0a0a") && text.contains("looks like an access token"), "{line}: {text}");
    }
}

/// Each command that does something, with the words that lead to it.
fn commands(of: &clap::Command, way: &str) -> Vec<(String, clap::Command)> {
    let below: Vec<_> = of.get_subcommands().filter(|command| command.get_name() != "help").collect();
    match below.is_empty() {
        true => vec![(way.to_owned(), of.clone())],
        false => below.into_iter().flat_map(|command| commands(command, &format!("{way} {}", command.get_name()))).collect(),
    }
}

#[test]
fn help_names_the_exit_codes_and_teaches_by_example() {
    let all = commands(&Arguments::command(), "strongroom");
    assert!(all.len() > 40, "{}", all.len());
    for (way, mut command) in all {
        // The script's own use stands in its one line.
        if way != "strongroom completion" {
            let help = command.render_long_help().to_string();
            let examples = help.split_once("xample").map(|(_, examples)| examples).unwrap_or_default();
            let group = way.rsplit_once(' ').map_or(way.as_str(), |(group, _)| group);
            assert!(
                examples.contains(&format!("  {way} ")) || examples.contains(&format!("  {group} ")) || examples.contains(&way),
                "{way}: {help}"
            );
        }
    }
    let help = Arguments::try_parse_from(words("--help")).expect_err("help").to_string();
    assert!(help.contains("Examples:\n  strongroom "), "{help}");
    errors::EXIT_CODES.lines().for_each(|line| assert!(help.contains(line.trim()), "{line}"));
}

#[test]
fn the_profile_comes_from_the_flag_or_the_variable() {
    let path = |flag: Option<&str>, variable: Option<&str>| profile_path(flag.map(Into::into), variable.map(Into::into)).ok();
    assert_eq!(path(Some("a"), Some("b")), Some("a".into()));
    assert_eq!(path(None, Some("b")), Some("b".into()));
    assert_eq!(path(None, Some("")), None);
    assert_eq!(path(None, None), None);
}

#[test]
fn a_refused_line_answers_in_the_format_that_it_asks_for() {
    assert_eq!(asked_format(&words("unseal x --output json")), Format::Json);
    assert_eq!(asked_format(&words("--output=json unseal x")), Format::Json);
    assert_eq!(asked_format(&words("unseal x --output table")), Format::Table);
    assert_eq!(asked_format(&words("unseal x --output")), Format::Table);
}
