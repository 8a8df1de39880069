// What ends, in words: the warnings of the status, one for each thing that ca-core calls due.

import Console
import PKI
import UPKIProtocol

enum ExpiryText {
    /// One line for an entry of the status that is due, with the command that mends it; nil for any other.
    static func warning(_ expiry: JSON, now: UnixTime, command: (String) -> String) -> String? {
        guard expiry["due"]?.boolValue == true, let end = UnixTime(rfc3339: expiry.text("at")) else { return nil }
        let name = expiry.text("name")
        let verb = end <= now ? "ended" : "ends"
        let when = HumanTime.relative(end, now: now)
        switch expiry.text("kind") {
        case "ca":
            return "the CA's certificate \(verb) \(when): nothing that it issues outlives it; make the next CA and move the nodes to it"
        case "crl":
            guard end > now else { return "the CRL is out of date since \(end.rfc3339): \(command("crl generate"))" }
            return "the CRL ends \(when) and no newer one was published: \(command("crl generate"))"
        case "node": return "the certificate of the node \(name) \(verb) \(when): \(command("node renew \(ShellText.quoted(name))"))"
        case "token": return "the one-time token \(name) \(verb) \(when) and nobody has used it: \(command("registrar open"))"
        case "window": return "registration stays open and closes \(when): \(command("registrar close")) as soon as the RAs are in"
        default: return "\(expiry.text("kind")) \(name) \(verb) \(when)"
        }
    }
}
