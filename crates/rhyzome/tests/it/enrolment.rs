//! Who may be an agent.

use jobs::Invitation;
use jobs::enrol::enrol;
use types::SecretText;

use crate::installation::Installation;

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_good_once() {
    let installation = Installation::start().await;
    let file = installation.invite("router", "router").await;
    let invitation: Invitation = std::fs::read_to_string(file).unwrap().parse().unwrap();
    enrol(&invitation, &installation.file("first")).await.unwrap();
    let again = enrol(&invitation, &installation.file("second")).await.err().unwrap();
    let told = format!("{:#}", anyhow::Error::new(again));
    assert!(told.contains("unknown, used or expired"), "{told}");

    let forged = Invitation { secret: SecretText::new("guess".to_owned()), ..invitation };
    assert!(enrol(&forged, &installation.file("third")).await.is_err());
}
