//! Environment variables: those of old in both layouts, flat and grouped, and Consul's own.

use std::str::FromStr;

use anyhow::bail;

use super::{ConsulSettings, Settings};

/// Consul's variable for the token itself. It stays in the environment, where it was put, until it is needed.
pub const TOKEN: &str = "CONSUL_HTTP_TOKEN";

/// Reads the environment over the settings. A grouped name wins over the flat one, and both over Consul's own.
pub fn apply(settings: &mut Settings, variable: &impl Fn(&str) -> Option<String>) -> anyhow::Result<()> {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    consul(settings, &variable)?;
    gateway(settings, &variable)?;
    put(&mut settings.firewall.enable, &["DIPLONAT_FIREWALL_ENABLE"], &variable)?;
    let names = ["DIPLONAT_FIREWALL_REFRESH_TIME", "DIPLONAT_REFRESH_TIME"];
    put(&mut settings.firewall.refresh_seconds, &names, &variable)
}

fn gateway(settings: &mut Settings, variable: &impl Fn(&str) -> Option<String>) -> anyhow::Result<()> {
    let gateway = &mut settings.gateway;
    put(&mut gateway.enable, &["DIPLONAT_IGD_ENABLE"], variable)?;
    let (mut is_ipv6_only, mut local) = (false, None::<std::net::Ipv4Addr>);
    put(&mut is_ipv6_only, &["DIPLONAT_IPV6_ONLY"], variable)?;
    gateway.enable &= !is_ipv6_only;
    put_some(&mut local, &["DIPLONAT_IGD_PRIVATE_IP", "DIPLONAT_PRIVATE_IP"], variable)?;
    gateway.local_address = local.or(gateway.local_address);
    put(&mut gateway.pulse_seconds, &["DIPLONAT_IGD_REFRESH_TIME", "DIPLONAT_REFRESH_TIME"], variable)?;
    put(&mut gateway.lease_seconds, &["DIPLONAT_IGD_EXPIRATION_TIME", "DIPLONAT_EXPIRATION_TIME"], variable)
}

fn consul(settings: &mut Settings, variable: &impl Fn(&str) -> Option<String>) -> anyhow::Result<()> {
    let node = variable("DIPLONAT_CONSUL_NODE_NAME");
    if node.is_none() && settings.consul.is_none() {
        return Ok(());
    }
    let consul = settings.consul.get_or_insert_with(ConsulSettings::default);
    consul.node = node.or(consul.node.take());
    put_some(&mut consul.url, &["DIPLONAT_CONSUL_URL", "CONSUL_HTTP_ADDR"], variable)?;
    put_some(&mut consul.ca, &["DIPLONAT_CONSUL_CA_CERT", "CONSUL_CACERT"], variable)?;
    put_some(&mut consul.cert, &["DIPLONAT_CONSUL_CLIENT_CERT", "CONSUL_CLIENT_CERT"], variable)?;
    put_some(&mut consul.key, &["DIPLONAT_CONSUL_CLIENT_KEY", "CONSUL_CLIENT_KEY"], variable)?;
    put_some(&mut consul.ca_directory, &["CONSUL_CAPATH"], variable)?;
    consul.is_token_in_environment = variable(TOKEN).is_some();
    put_some(&mut consul.token_file, &["CONSUL_HTTP_TOKEN_FILE"], variable)?;
    put_some(&mut consul.server_name, &["CONSUL_TLS_SERVER_NAME"], variable)?;
    put(&mut consul.tls_skip_verify, &["DIPLONAT_CONSUL_TLS_SKIP_VERIFY"], variable)
}

/// The first of these variables that is set.
fn first(names: &[&'static str], variable: &impl Fn(&str) -> Option<String>) -> Option<(&'static str, String)> {
    names.iter().find_map(|name| Some((*name, variable(name)?)))
}

fn put_some<T: FromStr>(
    to: &mut Option<T>,
    names: &[&'static str],
    variable: &impl Fn(&str) -> Option<String>,
) -> anyhow::Result<()>
where
    T::Err: std::fmt::Display,
{
    if let Some((name, value)) = first(names, variable) {
        match value.parse() {
            Ok(value) => *to = Some(value),
            Err(error) => bail!("{name}: {value:?}: {error}"),
        }
    }
    Ok(())
}

fn put<T: FromStr>(to: &mut T, names: &[&'static str], variable: &impl Fn(&str) -> Option<String>) -> anyhow::Result<()>
where
    T::Err: std::fmt::Display,
{
    let mut value = None;
    put_some(&mut value, names, variable)?;
    if let Some(value) = value {
        *to = value;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(variables: &[(&str, &str)]) -> anyhow::Result<Settings> {
        let mut settings = Settings::default();
        let find = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        apply(&mut settings, &find)?;
        settings.check()?;
        Ok(settings)
    }

    #[test]
    fn the_flat_layout_is_read() {
        let settings = applied(&[
            ("DIPLONAT_CONSUL_NODE_NAME", "lheureduthe"),
            ("DIPLONAT_CONSUL_URL", "https://consul:8501"),
            ("DIPLONAT_PRIVATE_IP", "192.168.0.2"),
            ("DIPLONAT_REFRESH_TIME", "60"),
            ("DIPLONAT_EXPIRATION_TIME", "300"),
        ])
        .unwrap();
        let consul = settings.consul.clone().unwrap();
        assert_eq!((consul.node.as_deref(), consul.url.as_deref()), (Some("lheureduthe"), Some("https://consul:8501")));
        let gateway = &settings.gateway;
        assert_eq!((gateway.local_address, gateway.pulse_seconds), (Some([192, 168, 0, 2].into()), 60));
        assert_eq!((gateway.lease_seconds, settings.firewall.refresh_seconds), (300, 60));
    }

    #[test]
    fn the_grouped_layout_wins_over_the_flat_one() {
        let settings = applied(&[
            ("DIPLONAT_IGD_PRIVATE_IP", "10.0.0.2"),
            ("DIPLONAT_PRIVATE_IP", "192.168.0.2"),
            ("DIPLONAT_IGD_REFRESH_TIME", "30"),
            ("DIPLONAT_REFRESH_TIME", "60"),
            ("DIPLONAT_FIREWALL_ENABLE", "false"),
            ("DIPLONAT_CONSUL_TLS_SKIP_VERIFY", "true"),
            ("DIPLONAT_CONSUL_NODE_NAME", "a"),
            ("CONSUL_HTTP_ADDR", "http://consul:8500"),
        ])
        .unwrap();
        assert_eq!((settings.gateway.local_address, settings.gateway.pulse_seconds), (Some([10, 0, 0, 2].into()), 30));
        assert_eq!((settings.firewall.enable, settings.firewall.refresh_seconds), (false, 60));
        let consul = settings.consul.unwrap();
        assert_eq!((consul.tls_skip_verify, consul.url.as_deref()), (true, Some("http://consul:8500")));
        assert!(!applied(&[("DIPLONAT_IPV6_ONLY", "true")]).unwrap().gateway.enable);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let complaint = |variables: &[(&str, &str)]| applied(variables).unwrap_err().to_string();
        let wrong = complaint(&[("DIPLONAT_PRIVATE_IP", "home")]);
        assert!(wrong.starts_with("DIPLONAT_PRIVATE_IP: \"home\": "), "{wrong}");
        let wrong = complaint(&[("DIPLONAT_REFRESH_TIME", "200"), ("DIPLONAT_EXPIRATION_TIME", "300")]);
        assert!(wrong.contains("expected 1 s to half of the lease, which is 300 s"), "{wrong}");
    }
}
