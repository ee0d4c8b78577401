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

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_good_for_its_own_installation() {
    let (here, elsewhere) = (Installation::start().await, Installation::start().await);
    let read = async |installation: &Installation| -> Invitation {
        let file = installation.invite("router", "router").await;
        std::fs::read_to_string(file).unwrap().parse().unwrap()
    };
    let (ours, theirs) = (read(&here).await, read(&elsewhere).await);
    let invitation = |core: &Invitation, ca: &Invitation| Invitation {
        core: core.core.clone(),
        ca: ca.ca.clone(),
        id: theirs.id,
        secret: SecretText::new(theirs.secret.reveal().to_owned()),
    };
    let unbelieved = enrol(&invitation(&ours, &theirs), &here.file("first")).await.err().unwrap();
    let told = format!("{:#}", anyhow::Error::new(unbelieved));
    assert!(told.contains("certificate"), "the agent does not believe that core: {told}");
    let unknown = enrol(&invitation(&ours, &ours), &here.file("second")).await.err().unwrap();
    let told = format!("{:#}", anyhow::Error::new(unknown));
    assert!(told.contains("unknown, used or expired"), "{told}");
    enrol(&theirs, &here.file("third")).await.expect("trying it elsewhere does not use it up");
}
