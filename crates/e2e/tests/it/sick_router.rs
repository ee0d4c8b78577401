//! From a router's fault to the person who waits: one clear line says what is wrong, and once the router is well again
//! the network comes up by itself. What a router refuses leaves nothing behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pki::{Alpn, Authority, Roots, SERVER_DAYS, ServerName, client_config};
use serde_json::{Value, json};
use time::OffsetDateTime;
use types::SecretText;

use e2e::installation::{Installation, programs_dir, wait_for};
use e2e::{machine, outside};

/// How long a person waits who then looks what is wrong.
const SOON: &str = "12s";
/// The same, where the router was cut off in the middle of a change, which the agent still hopes to confirm.
const LATER: &str = "45s";
/// What is told of a network whose sections somebody edited.
const CHANGED: &str = "somebody changed it on the target";
/// No faults.
const WELL: &str = "";

#[test]
fn what_ails_a_router_is_one_clear_line_and_heals() {
    machine::on_own_machine("sick_router::what_ails_a_router_is_one_clear_line_and_heals", || {
        outside::build();
        let installation = Installation::new();
        installation.up();
        let mut patient = Patient::of(&installation);
        let before = patient.sections();

        for (faults, complaint) in [
            ("*=html", "the answer is not as expected"),
            ("*=hang", "no answer within 3000 ms"),
            ("uci.apply=full", "uci apply: unknown error"),
        ] {
            patient.suffers(faults);
            let network = patient.wish(SOON, complaint);
            patient.suffers(WELL);
            patient.gets(&network);
        }

        patient.switch_off();
        let network = patient.wish(SOON, "no answer from the router");
        patient.switch_on();
        patient.gets(&network);

        patient.suffers("uci.apply=power-off");
        let network = patient.wish(LATER, "no answer from the router");
        patient.suffers(WELL);
        patient.switch_on();
        patient.gets(&network);

        patient.takes_another_password();
        let network = patient.wish(SOON, "login of \"rhyzome\" refused");
        patient.is_itself_again();
        patient.gets(&network);

        patient.shows_another_certificate();
        let network = patient.wish(SOON, "another CA has signed it");
        patient.is_itself_again();
        patient.gets(&network);

        patient.is_worked_by_somebody_else();
        let network = patient.wish(SOON, "another change on the router waits for its confirmation");
        patient.gets(&network);

        patient.takes_another_password();
        patient.starts_its_agent_again();
        let network = patient.wish_unread(SOON, "login of \"rhyzome\" refused");
        patient.is_itself_again();
        patient.gets(&network);

        patient.keeps("kept", |patient| {
            patient.is_edited(Edited::Staged);
            patient.on.ctl(&["network", "create", "beside", "--wait"]);
            patient.on.ctl(&["network", "delete", "beside", "--yes", "--wait"]);
            assert!(!patient.on.ctl(&["event", "list"]).contains(CHANGED), "what is only staged changes nothing");
            patient.is_edited(Edited::Committed);
            wait_for("the person is told", || patient.on.ctl(&["event", "list"]).contains(CHANGED).then_some(()));
        });

        patient.refuses();
        assert_eq!(patient.sections(), before, "the router's configuration is as before");
        patient.leaves_no_allocation();
    });
}

/// How far somebody got with a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edited {
    Staged,
    Committed,
}

/// A router that catches one thing after the other.
struct Patient<'a> {
    on: &'a Installation,
    router: Option<Child>,
    agent: Child,
    wishes: u32,
}

impl<'a> Patient<'a> {
    /// Takes router and agent over from `rhyzome up`, which would start them again.
    fn of(on: &'a Installation) -> Self {
        kill(Pid::from_raw(on.supervisor()), Signal::SIGKILL).unwrap();
        let processes = on.processes();
        for program in ["rhyzome-openwrt", "rhyzome-router"] {
            kill(Pid::from_raw(processes[program]), Signal::SIGTERM).unwrap();
            wait_for("the program ends", || {
                let stat = fs::read_to_string(format!("/proc/{}/stat", processes[program])).ok();
                stat.is_none_or(|stat| stat.contains(") Z ")).then_some(())
            });
        }
        let mut settings = on.told("rhyzome-openwrt");
        settings["router"]["call_timeout_seconds"] = json!(3);
        settings["router"]["rollback_timeout_seconds"] = json!(12);
        fs::write(on.data().join("impatient.json"), settings.to_string()).unwrap();
        let router = start(on, "rhyzome-router", "rhyzome-router.json");
        let agent = start(on, "rhyzome-openwrt", "impatient.json");
        let patient = Self { on, router: Some(router), agent, wishes: 0 };
        patient.answers();
        let log = || fs::read_to_string(on.data().join("logs/rhyzome-openwrt.test.log")).unwrap();
        wait_for("the agent is connected", || log().contains("connected to the core cluster=").then_some(()));
        wait_for("the agent has seen the router", || {
            let agents = on.json(&["agent", "list"]);
            let router = agents.as_array().unwrap().iter().find(|agent| agent["kind"] == "router").unwrap();
            (router["connected"] == true && router["trouble"].is_null()).then_some(())
        });
        patient
    }

    /// Has it misbehave, as `rhyzome-router serve --fault` says it.
    fn suffers(&self, faults: &str) {
        println!("==> {faults}");
        fs::write(self.on.data().join("rhyzome-router/faults"), faults).unwrap();
    }

    /// Asks for a network that does not come; the person is told why in one line, twice.
    fn wish(&mut self, patience: &str, complaint: &str) -> String {
        self.wish_in_vain(patience, complaint, "not applied: ")
    }

    /// The same where the agent has not seen the router at all.
    fn wish_unread(&mut self, patience: &str, complaint: &str) -> String {
        self.wish_in_vain(patience, complaint, "not reachable: ")
    }

    fn wish_in_vain(&mut self, patience: &str, complaint: &str, lacking: &str) -> String {
        self.wishes += 1;
        let name = format!("wish{}", self.wishes);
        let answer = self.on.try_ctl(&["network", "create", &name, "--wait", "--timeout", patience]);
        println!("{}", answer.all);
        assert!(!answer.worked, "it was to wait");
        let telling: Vec<&str> = answer.all.lines().filter(|line| line.contains(complaint)).collect();
        assert!(
            matches!(telling.last(), Some(line) if line.contains("it goes on")),
            "{complaint:?} in the last line of:\n{}",
            answer.all
        );
        let shown = self.on.ctl(&["network", "get", &name]);
        println!("{shown}");
        let condition = shown.lines().find(|line| line.contains(complaint));
        assert!(condition.is_some_and(|line| line.contains(lacking)), "{shown}");
        assert_eq!(self.on.json(&["network", "get", &name])["state"], "creating");
        name
    }

    /// The network comes up by itself; then it is deleted.
    fn gets(&self, name: &str) {
        wait_for(&format!("{name} comes up"), || {
            (self.on.json(&["network", "get", name])["state"] == "ready").then_some(())
        });
        let shown = self.on.ctl(&["network", "get", name]);
        assert!(!shown.contains("not applied") && !shown.contains("not reachable"), "{shown}");
        self.on.ctl(&["network", "delete", name, "--yes", "--wait"]);
    }

    /// Has a network while `meanwhile` happens to it, after which its sections are what they were.
    fn keeps(&self, name: &str, meanwhile: impl FnOnce(&Self)) {
        self.on.ctl(&["network", "create", name, "--wait"]);
        let before = self.sections();
        meanwhile(self);
        wait_for("its sections are as before", || (self.sections() == before).then_some(()));
        wait_for("it is well", || (!self.on.ctl(&["network", "get", name]).contains("not applied")).then_some(()));
        self.on.ctl(&["network", "delete", name, "--yes", "--wait"]);
    }

    fn starts_its_agent_again(&mut self) {
        kill(Pid::from_raw(self.agent.id().cast_signed()), Signal::SIGTERM).unwrap();
        self.agent.wait().unwrap();
        self.agent = start(self.on, "rhyzome-openwrt", "impatient.json");
    }

    fn switch_off(&mut self) {
        println!("==> away");
        if let Some(router) = &mut self.router {
            kill(Pid::from_raw(router.id().cast_signed()), Signal::SIGTERM).unwrap();
            router.wait().unwrap();
        }
    }

    /// Starts it, also where it went off by itself.
    fn switch_on(&mut self) {
        self.switch_on_with("rhyzome-router.json");
        self.answers();
    }

    fn switch_on_with(&mut self, settings: &str) {
        if let Some(mut router) = self.router.take() {
            router.wait().unwrap();
        }
        self.router = Some(start(self.on, "rhyzome-router", settings));
    }

    fn takes_another_password(&mut self) {
        let password = self.on.data().join("another-password");
        config::file::write_private(&password, b"another").unwrap();
        let mut settings = self.on.told("rhyzome-router");
        settings["users"]["rhyzome"]["password_file"] = json!(password);
        self.becomes(&settings);
    }

    fn shows_another_certificate(&mut self) {
        let now = OffsetDateTime::now_utc();
        let file = |name: &str| self.on.data().join(name);
        let authority = Authority::init(&file("another-ca"), now).unwrap();
        let name = [ServerName::try_from("127.0.0.1").unwrap()];
        let issued = authority.issue_server(&name, now, SERVER_DAYS).unwrap();
        let (cert, key) = (file("another.pem"), file("another-key.pem"));
        issued.write(&cert, &key).unwrap();
        let mut settings = self.on.told("rhyzome-router");
        settings["tls"] = json!({ "cert": cert, "key": key });
        self.becomes(&settings);
    }

    fn becomes(&mut self, settings: &Value) {
        fs::write(self.on.data().join("another.json"), settings.to_string()).unwrap();
        self.switch_off();
        self.switch_on_with("another.json");
        self.answers();
    }

    fn is_itself_again(&mut self) {
        self.switch_off();
        self.switch_on();
    }

    /// Waits until it listens.
    fn answers(&self) {
        let address = self.on.told("rhyzome-router")["listen"].as_str().unwrap().to_owned();
        wait_for("the router answers", || std::net::TcpStream::connect(&address).ok());
    }

    /// Somebody applies a change and does not confirm it, so that the router takes it back after a while.
    fn is_worked_by_somebody_else(&self) {
        println!("==> somebody else's change is pending");
        self.in_session_of_somebody(async |session| {
            let change = json!({ "config": "network", "type": "interface", "name": "somebody" });
            session.call("uci", "add", change).await.unwrap();
            session.call("uci", "apply", json!({ "rollback": true, "timeout": 25 })).await.unwrap();
        });
    }

    /// Somebody edits a section of ours.
    fn is_edited(&self, how: Edited) {
        println!("==> {how:?}");
        let sections = self.sections();
        let network = sections.iter().find(|(path, _)| path.ends_with("network")).map(|(_, text)| text).unwrap();
        let ours = network.lines().find_map(|line| line.strip_prefix("config interface 'rz")?.strip_suffix('\''));
        let section = format!("rz{}", ours.expect("an interface of ours"));
        self.in_session_of_somebody(async |session| {
            let change = json!({ "config": "network", "section": section, "values": { "ipaddr": "10.99.99.1" } });
            session.call("uci", "set", change).await.unwrap();
            if how == Edited::Committed {
                session.call("uci", "apply", json!({ "rollback": true, "timeout": 25 })).await.unwrap();
                session.call("uci", "confirm", json!({})).await.unwrap();
            }
        });
    }

    fn in_session_of_somebody(&self, work: impl AsyncFnOnce(ubus::Session)) {
        let told = self.on.told("rhyzome-openwrt");
        let of_router = |key: &str| told["router"][key].as_str().unwrap();
        let roots = Roots::from_pem(&config::file::read(&PathBuf::from(of_router("ca"))).unwrap()).unwrap();
        let password: SecretText = config::file::read_secret(&PathBuf::from(of_router("password_file"))).unwrap();
        pki::install_provider();
        let tls = client_config(&roots, None, Alpn::Http1).unwrap();
        let https = ubus::Https::new(of_router("url"), tls, ubus::Limits::default()).unwrap();
        let credentials = ubus::Credentials { username: of_router("username").to_owned(), password };
        let client = ubus::Client::new(Arc::new(https), credentials);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            work(client.login(Some(Duration::from_secs(60))).await.unwrap()).await;
        });
    }

    /// A network that the router itself is in already is refused, and nothing of it stays.
    fn refuses(&self) {
        println!("==> refused");
        let answer = self.on.try_ctl(&["network", "create", "refused", "--wait", "--subnet", "10.254.254.0/24"]);
        println!("{}", answer.all);
        let last = answer.all.lines().last().unwrap_or_default();
        assert!(!answer.worked && last.contains("failed") && last.contains("was refused: "), "{}", answer.all);
        let shown = self.on.ctl(&["network", "get", "refused"]);
        println!("{shown}");
        assert!(shown.contains("was refused: "), "{shown}");
        self.on.ctl(&["network", "delete", "refused", "--yes", "--wait"]);
    }

    fn leaves_no_allocation(&self) {
        let database = self.on.data().join("core/rhyzome.sqlite");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database).read_only(true);
            let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
            for table in ["resource", "slot", "segment", "subnet", "job", "secret"] {
                let text = format!("SELECT COUNT(*) FROM {table}");
                let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_one(&pool).await.unwrap();
                assert_eq!(count, 0, "rows are left in {table}");
            }
        });
    }

    /// All files of the router's configuration.
    fn sections(&self) -> BTreeMap<PathBuf, String> {
        let files = fs::read_dir(self.on.data().join("rhyzome-router/config")).unwrap();
        let files = files.map(|entry| entry.unwrap().path());
        files.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
    }
}

impl Drop for Patient<'_> {
    fn drop(&mut self) {
        for program in self.router.iter_mut().chain([&mut self.agent]) {
            // It may have ended.
            let _ = program.kill();
            let _ = program.wait();
        }
        if std::thread::panicking() {
            self.on.show_logs();
        }
    }
}

fn start(on: &Installation, program: &str, settings: &str) -> Child {
    let log = on.data().join("logs").join(format!("{program}.test.log"));
    let log = fs::File::options().create(true).append(true).open(log).unwrap();
    let mut command = Command::new(programs_dir().join(program));
    if program == "rhyzome-router" {
        command.arg("serve");
    }
    command.arg("--config").arg(on.data().join(settings));
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}
