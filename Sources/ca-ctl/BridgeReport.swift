// What the OCSP bridge says of itself, for a person.

import Console
import PKI
import UPKIProtocol

/// The answer to `/status` on the bridge's metrics socket; times in it are seconds since 1970.
package struct BridgeReport: Sendable {
    package let json: JSON

    package init(_ json: JSON) { self.json = json }

    /// Why its answers are not what they should be.
    package var complaints: [String] { (json["complaints"]?.arrayValue ?? []).map(JSONText.plain) }

    /// `ocsp.nonce` as the bridge has it.
    package var nonce: String { json["policy"]?["nonce"]?.stringValue ?? "echo" }

    private func time(_ value: JSON?, _ now: UnixTime) -> String {
        value?.integerValue.map { HumanTime.point(UnixTime($0), now: now) } ?? ""
    }

    /// When the last signing certificate that is valid ends.
    package var signerEnds: UnixTime? {
        (json["signers"]?.arrayValue ?? []).filter { $0["live"]?.boolValue == true }.compactMap { $0["not_after"]?.integerValue }.max().map
        {
            UnixTime($0)
        }
    }

    package func text(width: Int, now: UnixTime) -> String {
        let counters = (json["counters"]?.objectValue ?? []).map { ("  " + $0.name.spaced, JSONText.plain($0.value)) }
        let facts =
            coreFacts + signerFacts(now) + policyFacts + listFacts(now) + cacheFacts + httpFacts + [("counted", "since its start")]
            + counters
        let warnings = complaints.flatMap { TextWrap.lines(TextWidth.printable("warning: \($0)"), width: width) }
        return TextTable(facts: facts).rendered(width: width) + (warnings.isEmpty ? "" : "\n" + warnings.joined(separator: "\n") + "\n")
    }

    private var coreFacts: [(String, String)] {
        guard let core = json["core"] else { return [] }
        let state =
            switch core.text("state") {
            case "live": "heard: what is kept is served"
            case "ask": "its events are not heard: each request asks it"
            case "away": "away: what is kept is served for a while"
            default: core.text("state")
            }
        let age = core["heartbeat_age_ms"]?.integerValue.map { ", last heard \($0) ms ago" } ?? ""
        return [("ca-core", state + age), ("CA", Self.pairs(json["ca"]?.text("fingerprint") ?? ""))]
    }

    /// A fingerprint as ca-core writes it.
    private static func pairs(_ text: String) -> String {
        guard let bytes = Hexadecimal.decode(text) else { return text }
        return bytes.map { Hexadecimal.encode([$0]).uppercased() }.joined(separator: ":")
    }

    private func signerFacts(_ now: UnixTime) -> [(String, String)] {
        let signers = json["signers"]?.arrayValue ?? []
        guard !signers.isEmpty else { return [("signing certificate", "none yet")] }
        return signers.map { signer in
            let state = signer["live"]?.boolValue == true ? "" : "not valid now, "
            return ("signing certificate", "\(state)serial \(signer.text("serial")), until \(time(signer["not_after"], now))")
        }
    }

    private var policyFacts: [(String, String)] {
        guard let policy = json["policy"] else { return [] }
        func span(_ name: String) -> String { HumanTime.span(policy[name]?.integerValue ?? 0) }
        return [
            ("answers", "valid for \(span("validity")), \(span("max_age")) in HTTP caches, nonce: \(policy.text("nonce"))"),
            ("without ca-core", "good for \(span("offline_grace")), revoked until nextUpdate"),
        ]
    }

    private func listFacts(_ now: UnixTime) -> [(String, String)] {
        guard let list = json["crl"], !list.isNull else { return [("CRL", "none yet")] }
        let size = ByteText.size(list["bytes"]?.integerValue ?? 0)
        return [("CRL", "number \(list.text("number")), \(size), next due \(time(list["next_update"], now))")]
    }

    private var httpFacts: [(String, String)] {
        guard let http = json["http"], !http.isNull else { return [] }
        /// Those that are not 0.
        func counts(_ name: String) -> String {
            let some = (http[name]?.objectValue ?? []).filter { $0.value.integerValue != 0 }
            return some.isEmpty ? "none" : some.map { "\(JSONText.plain($0.value)) \($0.name)" }.joined(separator: ", ")
        }
        return [
            ("requests", counts("requests")), ("OCSP answers", counts("answers")), ("HTTP statuses", counts("statuses")),
            (
                "connections",
                "\(http.text("connections_open")) open, \(http.text("connections_opened")) since the start, \(http.text("connections_refused")) refused; "
                    + "timed out: \(counts("timed_out"))"
            ),
        ]
    }

    private var cacheFacts: [(String, String)] {
        guard let cache = json["cache"] else { return [] }
        return [
            (
                "kept",
                "\(cache.text("answers")) answers and \(cache.text("statuses")) statuses in at most \(ByteText.size(cache["bytes"]?.integerValue ?? 0))"
            ),
            ("", "\(cache.text("displaced")) made room for others; everything was dropped \(cache.text("dropped")) times"),
        ]
    }
}

extension String {
    fileprivate var spaced: String { String(map { $0 == "_" ? " " : $0 }) }
}
