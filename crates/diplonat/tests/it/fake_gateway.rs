//! A router that does what real ones are known to do, and worse; on an address of loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use diplonat::gateway::{Dialect, Gateway, HomeGateway, Nonce, Refusal, Request, Search};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;
const SERVICE: &str = "urn:schemas-upnp-org:service:WANIPConnection:1";

/// What is wrong with a router.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    OnlyPermanentLeases,
    OnlyLeasesOfADay,
    PortsMustBeEqual,
    Full,
    TakenInLowerCase,
    NoAddress,
    NoGetSpecific,
    NoText,
    LocationElsewhere,
    ControlElsewhere,
    Flood,
    HugeDescription,
    Bomb,
    Hang,
}

struct Fake {
    address: Ipv4Addr,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Clone)]
struct Web {
    fault: Fault,
    leases: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    async fn start(fault: Fault) -> (Self, Web) {
        static COUNT: AtomicU8 = AtomicU8::new(1);
        pki::install_provider();
        let [high, low] = u16::try_from(std::process::id() % 60_000).unwrap().to_be_bytes();
        let address = Ipv4Addr::new(127, high.max(1), low, COUNT.fetch_add(1, Ordering::Relaxed));
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let web = Web { fault, leases: Arc::default() };
        let router = Router::new().fallback(serve).with_state(web.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let socket = UdpSocket::bind((address, 1900)).await.unwrap();
        let answering = tokio::spawn(answer_searches(socket, at, fault));
        (Self { address, tasks: vec![serving, answering] }, web)
    }

    async fn find(&self) -> Option<HomeGateway> {
        let search = Search { address: Some(self.address), local: Some(LOCAL), ..Search::default() };
        let found = timeout(Duration::from_secs(60), HomeGateway::find(&search)).await;
        found.expect("the search ends, whatever a router does").ok()
    }

    /// The same for a router that can be found: on a busy machine its answers may come too late for one search.
    async fn find_at_last(&self) -> HomeGateway {
        for _ in 0..10 {
            if let Some(found) = self.find().await {
                return found;
            }
        }
        panic!("ten searches found nothing");
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn answer_searches(socket: UdpSocket, at: SocketAddr, fault: Fault) {
    let mut buffer = [0; 2048];
    while let Ok((_, from)) = socket.recv_from(&mut buffer).await {
        let location = match fault {
            Fault::LocationElsewhere => "http://192.0.2.1:80/d.xml".to_owned(),
            _ => format!("http://{at}/d.xml"),
        };
        let answer = |location: &str| format!("HTTP/1.1 200 OK\r\nLocation: {location}\r\n\r\n");
        if fault == Fault::Flood {
            for number in 0..40 {
                let _ = socket.send_to(answer(&format!("http://192.0.2.{number}/d.xml")).as_bytes(), from).await;
            }
        }
        let _ = socket.send_to(answer(&location).as_bytes(), from).await;
    }
}

async fn serve(State(web): State<Web>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    if uri.path() == "/d.xml" {
        return describe(web.fault).await;
    }
    let action = headers.get("SOAPAction").and_then(|action| action.to_str().ok()).unwrap_or_default();
    let action = action.trim_matches('"').rsplit('#').next().unwrap_or_default().to_owned();
    act(&web, &action, &String::from_utf8_lossy(&body))
}

async fn describe(fault: Fault) -> Response {
    let control = if fault == Fault::ControlElsewhere { "http://192.0.2.1/ctl" } else { "/ctl" };
    let good = format!(
        "<?xml version=\"1.0\"?><root xmlns=\"urn:schemas-upnp-org:device-1-0\"><device><serviceList><service>\
         <serviceType>{SERVICE}</serviceType><controlURL>{control}</controlURL></service></serviceList></device></root>"
    );
    match fault {
        Fault::Hang => std::future::pending().await,
        Fault::HugeDescription => {
            let endless =
                futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 65_536])));
            Body::from_stream(endless).into_response()
        }
        Fault::Bomb => {
            let entities: String = (1..30).map(|n| format!("<!ENTITY e{n} \"&e{p};&e{p};\">", p = n - 1)).collect();
            format!("<!DOCTYPE d [<!ENTITY e0 \"boom\">{entities}]><root>&e29;{}</root>", "<a>".repeat(100_000))
                .into_response()
        }
        _ => good.into_response(),
    }
}

fn act(web: &Web, action: &str, body: &str) -> Response {
    let argument = |name: &str| {
        let rest = body.split_once(&format!("<{name}>")).map(|(_, rest)| rest).unwrap_or_default();
        rest.split('<').next().unwrap_or_default().to_owned()
    };
    let good = |arguments: &str| {
        envelope(&format!("<u:{action}Response xmlns:u=\"{SERVICE}\">{arguments}</u:{action}Response>"))
    };
    match (action, web.fault) {
        ("GetStatusInfo", _) => good("<NewConnectionStatus>Connected</NewConnectionStatus><NewUptime>100</NewUptime>"),
        ("GetExternalIPAddress", Fault::NoAddress) => good("<NewExternalIPAddress>0.0.0.0</NewExternalIPAddress>"),
        ("GetExternalIPAddress", _) => good("<NewExternalIPAddress>11.22.33.5</NewExternalIPAddress>"),
        ("GetSpecificPortMappingEntry", Fault::NoGetSpecific) => fault(401, "errorCode"),
        ("GetSpecificPortMappingEntry", Fault::NoText) => {
            let (before, after) = (
                "<NewInternalClient>10.0.0.9</NewInternalClient><NewInternalPort>1</NewInternalPort><NewPortMappingDescription>",
                "</NewPortMappingDescription>",
            );
            let text = [
                envelope_text(&format!("<u:{action}Response>{before}")).as_bytes(),
                &[0xff, 0xfe],
                after.as_bytes(),
                format!("</u:{action}Response>").as_bytes(),
            ]
            .concat();
            text.into_response()
        }
        ("GetSpecificPortMappingEntry", _) => fault(714, "errorCode"),
        ("AddPortMapping", is) => {
            let lease = argument("NewLeaseDuration");
            web.leases.lock().unwrap().push(lease.clone());
            match is {
                Fault::OnlyPermanentLeases if lease != "0" => fault(725, "errorCode"),
                Fault::OnlyLeasesOfADay if lease != "86400" => fault(402, "errorCode"),
                Fault::PortsMustBeEqual => fault(724, "errorCode"),
                Fault::Full => fault(728, "errorCode"),
                Fault::TakenInLowerCase => fault(718, "errorcode"),
                _ => good(""),
            }
        }
        _ => good(""),
    }
}

fn envelope_text(body: &str) -> String {
    format!("<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>{body}")
}

fn envelope(body: &str) -> Response {
    (envelope_text(body) + "</s:Body></s:Envelope>").into_response()
}

fn fault(code: u16, tag: &str) -> Response {
    let body = format!("<s:Fault><detail><UPnPError><{tag}>{code}</{tag}></UPnPError></detail></s:Fault>");
    (StatusCode::INTERNAL_SERVER_ERROR, envelope(&body)).into_response()
}

fn request() -> Request {
    Request {
        port: "tcp/443".parse().unwrap(),
        to: 8443.try_into().unwrap(),
        local: LOCAL,
        nonce: Nonce([0; 12]),
        description: "rz:n1:00000000".into(),
        lease: 3600,
    }
}

#[tokio::test]
async fn a_lease_that_a_router_takes_is_found_and_remembered() {
    for (fault, tried, lease) in [
        (Fault::None, &["3600", "3600"][..], 3600),
        (Fault::OnlyPermanentLeases, &["3600", "86400", "604800", "0", "0"], 0),
        (Fault::OnlyLeasesOfADay, &["3600", "86400", "86400"], 86_400),
    ] {
        let (fake, web) = Fake::start(fault).await;
        let gateway = fake.find_at_last().await;
        assert_eq!(gateway.dialects(), [Dialect::Igd]);
        for _ in 0..2 {
            assert_eq!(gateway.map(Dialect::Igd, &request()).await.unwrap().lease, lease, "{fault:?}");
        }
        assert_eq!(*web.leases.lock().unwrap(), tried, "{fault:?}");
    }
}

#[tokio::test]
async fn what_a_router_refuses_is_said_as_it_is() {
    for fault in [Fault::PortsMustBeEqual, Fault::Full, Fault::TakenInLowerCase] {
        let (fake, _web) = Fake::start(fault).await;
        let refusal = fake.find_at_last().await.map(Dialect::Igd, &request()).await.unwrap_err();
        let is_it = match fault {
            Fault::PortsMustBeEqual => matches!(refusal, Refusal::PortsMustBeEqual(_)),
            Fault::Full => matches!(refusal, Refusal::Full(_)),
            _ => matches!(refusal, Refusal::Taken(_)),
        };
        assert!(is_it, "{fault:?}: {refusal}");
    }
}

#[tokio::test]
async fn what_a_router_leaves_out_is_done_without() {
    let (fake, _web) = Fake::start(Fault::NoAddress).await;
    assert_eq!(fake.find_at_last().await.pulse().await.unwrap().external, None);
    let (fake, _web) = Fake::start(Fault::NoGetSpecific).await;
    let looked = fake.find_at_last().await.look(request().port).await;
    assert!(matches!(looked, Err(Refusal::Unsupported(_))), "{looked:?}");
    let (fake, _web) = Fake::start(Fault::NoText).await;
    let found = fake.find_at_last().await.look(request().port).await.unwrap().unwrap();
    assert_eq!((found.client, found.description.as_str()), (Ipv4Addr::new(10, 0, 0, 9), "\u{fffd}\u{fffd}"));
}

#[tokio::test]
async fn a_router_that_leads_elsewhere_hangs_or_talks_without_end_is_left() {
    for fault in [Fault::LocationElsewhere, Fault::ControlElsewhere, Fault::HugeDescription, Fault::Bomb, Fault::Hang] {
        let (fake, _web) = Fake::start(fault).await;
        assert!(fake.find().await.is_none(), "{fault:?}");
    }
    let (fake, _web) = Fake::start(Fault::Flood).await;
    assert_eq!(fake.find_at_last().await.dialects(), [Dialect::Igd], "among a flood of others");
}
