//! SOAP calls as UPnP makes them.

use std::collections::BTreeMap;

use reqwest::{Client, Url};

use super::http;
use super::xml::{Mark, escaped, walk};

/// What came of a call: the arguments of the answer by their names in lower case.
pub type Outcome = Result<BTreeMap<String, String>, Fault>;

/// Why a call gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// UPnP's error code and its description.
    Refused(u16, String),
    /// No answer that can be read.
    Silent(String),
}

/// Calls an action of a service.
pub async fn call(client: &Client, control: &Url, service: &str, action: &str, arguments: &[(&str, &str)]) -> Outcome {
    let request = client
        .post(control.clone())
        .header("Content-Type", "text/xml; charset=\"utf-8\"")
        .header("SOAPAction", format!("\"{service}#{action}\""))
        .body(envelope(service, action, arguments));
    let answer = http::send(request).await.map_err(|error| Fault::Silent(format!("{action}: {error}")))?;
    read(action, answer.status, &answer.body)
}

fn envelope(service: &str, action: &str, arguments: &[(&str, &str)]) -> String {
    let arguments: String =
        arguments.iter().map(|(name, value)| format!("<{name}>{}</{name}>", escaped(value))).collect();
    format!(
        "<?xml version=\"1.0\"?>\r\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body><u:{action} xmlns:u=\"{service}\">\
         {arguments}</u:{action}></s:Body></s:Envelope>\r\n"
    )
}

fn read(action: &str, status: u16, body: &str) -> Outcome {
    let mut values = BTreeMap::new();
    let walked = walk(body, |mark| {
        if let Mark::Close(name, text) = mark {
            values.insert(name.to_owned(), text.to_owned());
        }
    });
    if let Some(code) = values.get("errorcode").and_then(|code| code.parse().ok()) {
        return Err(Fault::Refused(code, values.remove("errordescription").unwrap_or_default()));
    }
    let answered = format!("{}response", action.to_ascii_lowercase());
    match walked {
        Ok(()) if status == 200 && values.contains_key(&answered) => Ok(values),
        Ok(()) => Err(Fault::Silent(format!("{action}: HTTP status {status} without an answer"))),
        Err(error) => Err(Fault::Silent(format!("{action}: HTTP status {status}, {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_escapes_what_it_carries() {
        let text = envelope("urn:x", "Do", &[("Name", "a<b>&c")]);
        assert!(text.contains("<u:Do xmlns:u=\"urn:x\"><Name>a&lt;b&gt;&amp;c</Name></u:Do>"), "{text}");
    }

    #[test]
    fn answers_and_faults_are_read_in_any_case() {
        let good = "<s:Envelope><s:Body><u:GetExternalIPAddressResponse xmlns:u='x'><NewExternalIPAddress>1.2.3.4\
                    </NewExternalIPAddress></u:GetExternalIPAddressResponse></s:Body></s:Envelope>";
        assert_eq!(read("GetExternalIPAddress", 200, good).unwrap()["newexternalipaddress"], "1.2.3.4");
        let bad = "<s:envelope><s:fault><upnperror><errorcode>718</errorcode><errordescription>taken</errordescription>\
                   </upnperror></s:fault></s:envelope>";
        assert_eq!(read("AddPortMapping", 500, bad), Err(Fault::Refused(718, "taken".into())));
        assert!(matches!(read("AddPortMapping", 200, "<html>hello"), Err(Fault::Silent(_))));
        assert!(matches!(read("AddPortMapping", 404, ""), Err(Fault::Silent(_))));
    }
}
