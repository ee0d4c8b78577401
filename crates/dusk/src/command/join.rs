//! Joining: `dusk invite` on a voter, `dusk join` on whoever comes.

use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::process::ExitCode;

use anyhow::{Context, bail};
use fleet::authority::Statement;
use fleet::{DeviceName, JoinKey, JoinRequest, JoinTerms, NodeSecret};
use zeroize::Zeroizing;

use super::{Given, print};
use crate::prompt;
use crate::seat::{Author, Seat, directory, now, random};
use crate::store::Store;

const DAY: u64 = 24 * 60 * 60;

/// Makes a join key and prints it.
///
/// # Errors
/// When the command line, the password or the right is wanting.
pub fn invite(given: &Given) -> anyhow::Result<ExitCode> {
    let mut seat = Seat::open(given)?;
    let number = |flag: &str, usual: u32| -> anyhow::Result<u32> {
        let text = given.value(flag).map_or(Ok(usual), str::parse);
        text.with_context(|| format!("--{flag}: a number is expected"))
    };
    let (uses, days) = (number("uses", 1)?, number("days", 7)?);
    let author = seat.sign_in(given)?;
    let key = make_key(&mut seat, given, &author, (uses, days))?;
    let text = key.reveal();
    if given.has("qr") {
        let code = qrcode::QrCode::new(text.as_bytes()).context("the key is too long for a QR code")?;
        print(&(code.render::<qrcode::render::unicode::Dense1x2>().build() + "\n"))?;
    }
    if let Some(file) = given.value("file") {
        write_private(file, format!("{}\n", *text).as_bytes())?;
        eprintln!("the key is in {file}");
        return Ok(ExitCode::SUCCESS);
    }
    print(&format!("{}\n", *text))
}

/// Makes a join key that lasts for so many uses and days.
///
/// # Errors
/// When nobody knows where devices find this one, or the right is wanting.
pub fn make_key(seat: &mut Seat, given: &Given, author: &Author, (uses, days): (u32, u32)) -> anyhow::Result<JoinKey> {
    let group = given.value("group").map(str::parse).transpose()?;
    let mut addresses = given.values("address").to_vec();
    if addresses.is_empty() {
        let kept =
            seat.store.read("address")?.context("where do devices find this one? Say it with --address HOST:PORT")?;
        addresses.push(String::from_utf8(kept).context("the file address is no text")?);
    }
    let noise = seat.store.secret()?.context("there is no node.key")?.public().noise;
    let mut seed = Zeroizing::new([0; 32]);
    random(&mut *seed);
    let key = JoinKey::new(seat.fleet(), *seed, addresses.into_iter().map(|address| (address, noise)).collect());
    let terms = JoinTerms {
        key: key.public(),
        group,
        uses,
        last_day: u32::try_from(now() / DAY)? + days,
        hardware: given.values("hardware").to_vec(),
        automatic: given.has("automatic"),
    };
    seat.say(&Statement::Join { terms }, author)?;
    Ok(key)
}

/// Takes a join key back.
///
/// # Errors
/// When it is none, or the right is wanting.
pub fn uninvite(given: &Given) -> anyhow::Result<ExitCode> {
    let mut seat = Seat::open(given)?;
    let key = given.argument("key").parse()?;
    let author = seat.sign_in(given)?;
    seat.say(&Statement::Unjoin { key }, &author)?;
    print("taken back\n")
}

/// Keeps a join key and prepares the request that is made with it.
///
/// # Errors
/// When the device is of a fleet already, or the key is none.
pub fn join(given: &Given) -> anyhow::Result<ExitCode> {
    let store = Store::open(directory(given))?;
    if store.genesis()?.is_some() {
        bail!("this device is of a fleet already, by the files in {}", directory(given).display());
    }
    // A key in arguments could be read by others on this machine for a moment; a file or standard input cannot.
    let text = match given.value("file") {
        Some(file) => Zeroizing::new(std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?),
        None => match given.optional("key") {
            Some(key) => Zeroizing::new(key.to_owned()),
            None => prompt::password("The join key")?,
        },
    };
    let key = JoinKey::from_text(&text)?;
    let secret = store.ensure_secret(&mut random)?;
    let request = request(&key, &secret, given)?;
    store.write("join", key.reveal().as_bytes())?;
    store.write("request", &request.to_bytes())?;
    if let Some(file) = given.value("request") {
        write_private(file, &request.to_bytes())?;
    }
    let id = fleet::DeviceId::first_known_by(&secret.public());
    print(&format!("device {id} asks to join fleet {}\n", key.fleet))
}

fn request(key: &JoinKey, secret: &NodeSecret, given: &Given) -> anyhow::Result<JoinRequest> {
    let line = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let name: Option<DeviceName> = given.value("name").map(str::parse).transpose()?;
    let hardware = (line("/tmp/sysinfo/board_name"), first_mac().unwrap_or_default());
    Ok(JoinRequest::new(key, secret, hardware, name))
}

/// The address of the first interface that has one, by name.
fn first_mac() -> Option<String> {
    let mut names: Vec<_> =
        std::fs::read_dir("/sys/class/net").ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    names.sort();
    let addresses = names.iter().filter_map(|path| std::fs::read_to_string(path.join("address")).ok());
    addresses.map(|mac| mac.trim().to_owned()).find(|mac| !mac.is_empty() && mac != "00:00:00:00:00:00")
}

/// Writes a file that only its owner can read, also where others could read the one before.
///
/// # Errors
/// When it cannot be written.
pub fn write_private(path: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let write = || {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
        // A terminal or a pipe stays as it is.
        if file.metadata()?.is_file() {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {path}"))
}
