//! What others see of a gate: the desk, and the ways to it.

use std::sync::{Arc, mpsc};

use crate::config::Config;
use crate::control::server::Server;
use crate::control::socket::{Socket, SocketError};
use crate::daemon::DaemonError;
use crate::daemon::desk::Desk;
use crate::daemon::health::Health;
use crate::daemon::house::House;
use crate::daemon::keeper::Keeper;
use crate::daemon::overview::Overview;
use crate::daemon::reload::Load;
use crate::daemon::rules::InstalledRules;
use crate::daemon::succession::{Errand, Exit};
use crate::event::Event;
use crate::harden::Protection;
use crate::http;

/// The desk, the control socket, the pages, and the exit for a gate that takes over. All but the desk may be missing.
pub(in crate::daemon) struct Front {
    pub(super) desk: Arc<Desk>,
    pub(super) exit: Arc<Exit>,
    pub(super) errands: mpsc::Receiver<Errand>,
    pub(super) control: Option<Server>,
    http: Option<http::server::Server>,
    health: Health,
}

impl Front {
    /// Lets others in. Where one of the ways can't be opened, that is a warning: packets are decided all the same.
    pub(super) fn open(
        house: &mut House,
        config: &Config,
        load: Load,
        socket: Option<Result<Socket, SocketError>>,
        protection: &Protection,
    ) -> Result<Self, DaemonError> {
        let (exit, errands) = Exit::new(
            house.signals.alarm()?,
            obstacle(house, config),
            house.rules.as_ref().is_some_and(InstalledRules::are_ours),
        );
        let exit = Arc::new(exit);
        let desk = Desk::new(
            Arc::clone(&house.gate),
            house.clock,
            house.sink.clone(),
            house.housekeeping.workers(),
            house.crew.health(),
            Arc::clone(&exit),
            house.manager,
            config,
            load,
        );
        let desk = desk.knowing_of(Arc::clone(&house.rules_state));
        let desk = desk.beginning_with(house.grace.take()).held_by(protection);
        let counts = house.keeper.as_ref().map(Keeper::counts);
        let desk = desk.seeing(house.housekeeping.trunks()).counting(&house.outbound);
        let desk = Arc::new(desk.keeping(config.state.file.clone(), counts));
        let warn = |text| house.sink.send(Event::Warning(text));

        let serve = |socket: Result<Socket, SocketError>| {
            let socket = socket.map_err(|error| error.to_string())?;
            Server::start(socket, house.clock, Arc::clone(&desk)).map_err(|error| error.to_string())
        };
        let control = socket.and_then(|socket| {
            let failed = |error| {
                warn(format!(
                    "no control socket, so 'sipknock doors' and others can't reach this gate: {error}"
                ))
            };
            serve(socket).map_err(failed).ok()
        });

        let health = Health::default();
        let http = config.http.listen.and_then(|address| {
            let overview =
                Overview::new(Arc::clone(&desk), health.clone(), control.as_ref().map(Server::counts));
            let failed = |error| warn(format!("no metrics and no status page: {error}"));
            let hosts = config.http.hosts.clone();
            http::server::Server::start(address, hosts, house.clock, overview).map_err(failed).ok()
        });
        Ok(Self { desk, exit, errands, control, http, health })
    }

    /// Says to those who ask that the gate is ending.
    pub(super) fn is_ending(&self) {
        self.health.say("the gate", Some("it is ending".to_owned()));
    }

    /// Lets go of the address of the pages.
    pub(super) fn free_address(&mut self) {
        if let Some(http) = self.http.take() {
            http.finish();
        }
    }

    /// Lets go of the log and of all who are still there.
    pub(super) fn close(mut self) {
        self.desk.close();
        if let Some(control) = self.control.take() {
            control.finish();
        }
        self.free_address();
    }
}

/// Why a gate can't be taken over.
fn obstacle(house: &House, config: &Config) -> Option<&'static str> {
    if !config.queue.backend.hands_over() {
        return Some("it runs with backend nfq, whose queues can't be handed over: restart it");
    }
    house.crew.is_stored().then_some(
        "a service manager runs it, and keeps its queues: 'systemctl restart sipknock' loses no packet",
    )
}
