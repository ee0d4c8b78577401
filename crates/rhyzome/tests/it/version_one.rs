//! An agent that knows nothing but version 1 of the job protocol, and the core of today.

use std::collections::BTreeSet;

use jobs::connection;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

use crate::certificate::enrolled;
use crate::installation::{Installation, named, succeeded, until};

/// The messages of a session as version 1 had them.
mod wire {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct FromAgent {
        #[prost(oneof = "Said", tags = "1, 2")]
        pub body: Option<Said>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Said {
        #[prost(message, tag = "1")]
        Hello(Hello),
        #[prost(message, tag = "2")]
        Report(Report),
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct FromCore {
        #[prost(oneof = "Told", tags = "1, 2")]
        pub body: Option<Told>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Told {
        #[prost(message, tag = "1")]
        Welcome(Welcome),
        #[prost(message, tag = "2")]
        Job(Job),
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Hello {
        #[prost(uint32, tag = "1")]
        pub protocol: u32,
        #[prost(string, tag = "2")]
        pub software: String,
        #[prost(string, tag = "7")]
        pub capacity: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Welcome {
        #[prost(string, tag = "1")]
        pub cluster: String,
        #[prost(uint64, tag = "2")]
        pub epoch: u64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Job {
        #[prost(string, tag = "1")]
        pub object: String,
        #[prost(uint64, tag = "2")]
        pub epoch: u64,
        #[prost(uint64, tag = "3")]
        pub revision: u64,
        #[prost(string, repeated, tag = "4")]
        pub requires: Vec<String>,
        #[prost(string, tag = "5")]
        pub desired: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Report {
        #[prost(string, tag = "1")]
        pub object: String,
        #[prost(uint64, tag = "2")]
        pub epoch: u64,
        #[prost(uint64, tag = "3")]
        pub revision: u64,
        #[prost(int32, tag = "4")]
        pub outcome: i32,
    }
}

/// What version 1 knew of a network; it refused any other field.
const OF_A_NETWORK: [&str; 13] = [
    "id",
    "slot",
    "segment",
    "subnet",
    "router_address",
    "mtu",
    "dhcp",
    "lease_seconds",
    "dns",
    "isolation",
    "leases",
    "wireguard",
    "peers",
];

/// Says hello as version 1 did.
async fn open(channel: Channel) -> (mpsc::Sender<wire::FromAgent>, Streaming<wire::FromCore>) {
    let (sender, messages) = mpsc::channel(8);
    let hello = wire::Hello { protocol: 1, software: "test 0.1".to_owned(), capacity: "{}".to_owned() };
    sender.send(wire::FromAgent { body: Some(wire::Said::Hello(hello)) }).await.unwrap();
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let codec: ProstCodec<wire::FromAgent, wire::FromCore> = ProstCodec::default();
    let path = PathAndQuery::from_static("/rhyzome.jobs.v1.Jobs/Session");
    let answer = client.streaming(Request::new(ReceiverStream::new(messages)), path, codec).await.unwrap();
    (sender, answer.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_version_one_is_given_work_that_it_understands() {
    let installation = Installation::start().await;
    let known = enrolled(&installation, "old").await;
    let channel = connection::connect(&known.core, &known.ca, Some(known.certificate.again())).await.unwrap();
    let (sender, mut incoming) = open(channel).await;
    let Some(wire::Told::Welcome(welcome)) = incoming.message().await.unwrap().unwrap().body else {
        panic!("welcome comes first")
    };
    assert_eq!((welcome.cluster, welcome.epoch), (known.identity.cluster.to_string(), 1));

    let client = installation.client("tester");
    until("the agent to be seen", async || {
        client.agents().await.ok()?.items.iter().any(|agent| agent.connected).then_some(())
    })
    .await;
    let body = serde_json::from_value(serde_json::json!({"name": "home"})).unwrap();
    let accepted = client.create::<api::Network>(&body).await.unwrap();
    let Some(wire::Told::Job(job)) = incoming.message().await.unwrap().unwrap().body else { panic!("a job was due") };
    assert_eq!(job.object, format!("network/{}", accepted.resource.id));
    assert!(job.requires.is_empty());
    let desired: Value = serde_json::from_str(&job.desired).unwrap();
    let fields: BTreeSet<&str> = desired.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(fields.is_subset(&OF_A_NETWORK.into()), "{fields:?}");
    let report = wire::Report { object: job.object, epoch: job.epoch, revision: job.revision, outcome: 1 };
    sender.send(wire::FromAgent { body: Some(wire::Said::Report(report)) }).await.unwrap();
    succeeded(&client, accepted.operation).await;
    let home: api::Network = client.get(&named::<api::Network>("home")).await.unwrap();
    assert_eq!(home.state, api::State::Ready);
}
