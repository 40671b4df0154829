//! The gate as others see it: the control service, and the ways to it.

mod control_service;
mod history;
mod http_service;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use crate::config::Config;
use crate::control::server::ControlServer;
use crate::control::socket::{Socket, SocketError};
use crate::daemon::context::Context;
use crate::daemon::endpoints::control_service::ControlService;
use crate::daemon::endpoints::http_service::HttpService;
use crate::daemon::firewall_helper::RulesState;
use crate::daemon::maintenance::WatchedQueue;
use crate::daemon::observers::grace::Grace;
use crate::daemon::outbound::OutboundReader;
use crate::daemon::persistence;
use crate::daemon::reload::LoadConfig;
use crate::daemon::signals::Waker;
use crate::daemon::systemd::Systemd;
use crate::daemon::takeover::outgoing::{TakeoverListener, TakeoverRequest};
use crate::daemon::trunks::RefusedTrunks;
use crate::daemon::workers::watchdog;
use crate::event::Event;
use crate::harden::Protection;
use crate::http;

/// The control service, the control socket, the pages, and the listener for processes that take over. All but the service
/// may be missing.
pub(in crate::daemon) struct Endpoints {
    pub(in crate::daemon) service: Arc<ControlService>,
    pub(in crate::daemon) exit: Arc<TakeoverListener>,
    pub(in crate::daemon) requests: mpsc::Receiver<TakeoverRequest>,
    pub(in crate::daemon) control: Option<ControlServer>,
    http: Option<http::server::HttpServer>,
    /// Set once the gate ends, for the health check.
    stopping: Arc<AtomicBool>,
}

/// The parts of the gate that the ways to it need.
pub(in crate::daemon) struct GateParts {
    pub(in crate::daemon) context: Context,
    pub(in crate::daemon) manager: Systemd,
    pub(in crate::daemon) workers: Vec<WatchedQueue>,
    pub(in crate::daemon) health: watchdog::QueueHealth,
    pub(in crate::daemon) outbound: Arc<OutboundReader>,
    pub(in crate::daemon) trunks: Arc<RefusedTrunks>,
    pub(in crate::daemon) grace: Option<Grace>,
    /// Counts of writes to the file of doors, if there is one.
    pub(in crate::daemon) kept: Option<Arc<persistence::WriteCounts>>,
    pub(in crate::daemon) rules_state: Arc<RulesState>,
    pub(in crate::daemon) rules_are_ours: bool,
    pub(in crate::daemon) waker: Waker,
    /// Why this gate can't be taken over.
    pub(in crate::daemon) obstacle: Option<&'static str>,
}

impl Endpoints {
    /// Lets others in. If one of the ways can't be opened, that is a warning: packets are decided all the same.
    pub(in crate::daemon) fn open(
        parts: GateParts,
        config: &Config,
        load: LoadConfig,
        socket: Option<Result<Socket, SocketError>>,
        protection: &Protection,
    ) -> Self {
        let GateParts { context, workers, health, manager, outbound, .. } = parts;
        let Context { clock, sink, .. } = context.clone();
        let (exit, requests) = TakeoverListener::new(parts.waker, parts.obstacle, parts.rules_are_ours);
        let exit = Arc::new(exit);
        let service = ControlService::new(context, workers, health, Arc::clone(&exit), manager, config, load);
        let service = service.knowing_of(parts.rules_state);
        let service = service.beginning_with(parts.grace).held_by(protection);
        let service = service.seeing(parts.trunks).counting(&outbound);
        let service = Arc::new(service.keeping(config.state.file.clone(), parts.kept));
        let warn = |text| sink.send(Event::Warning(text));

        let serve = |socket: Result<Socket, SocketError>| {
            let socket = socket.map_err(|error| error.to_string())?;
            ControlServer::start(socket, clock, Arc::clone(&service)).map_err(|error| error.to_string())
        };
        let control = socket.and_then(|socket| {
            let failed = |error| {
                warn(format!(
                    "no control socket, so 'sipknock doors' and others can't reach this gate: {error}"
                ))
            };
            serve(socket).map_err(failed).ok()
        });

        let stopping = Arc::<AtomicBool>::default();
        let http = config.http.listen.and_then(|address| {
            let overview = HttpService::new(
                Arc::clone(&service),
                Arc::clone(&stopping),
                control.as_ref().map(ControlServer::counts),
            );
            let failed = |error| warn(format!("no metrics and no status page: {error}"));
            let hosts = config.http.hosts.clone();
            http::server::HttpServer::start(address, hosts, clock, overview).map_err(failed).ok()
        });
        Self { service, exit, requests, control, http, stopping }
    }

    /// Says to those who ask that the gate is ending.
    pub(in crate::daemon) fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Lets go of the address of the pages.
    pub(in crate::daemon) fn free_address(&mut self) {
        if let Some(http) = self.http.take() {
            http.finish();
        }
    }

    /// Lets go of the log and of all who are still there.
    pub(in crate::daemon) fn close(mut self) {
        self.service.close();
        if let Some(control) = self.control.take() {
            control.finish();
        }
        self.free_address();
    }
}
