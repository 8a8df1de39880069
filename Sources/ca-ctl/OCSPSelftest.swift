// `ocsp selftest`: has a certificate issued, watches what the bridge says of it before and after its revocation, and deletes it again.

import AdminLink
import ArgumentParser
import Console
import Glibc
import OCSPClient
import PKI
import RevocationFormats
import UPKIProtocol

struct Selftest: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Issues a certificate, asks the bridge for it in every way, revokes it, asks again, deletes it.",
        discussion: """
            One line for each check; ends at the first surprise with 1, and deletes what it made even then.
            What it issues is for one day, its key is thrown away, and its name begins with ocsp-selftest.
            """)

    @Option(help: "The bridge's socket; otherwise that in the run directory.", completion: .file())
    var socket: String?

    @Option(help: "The profile of the certificate.")
    var profile = "user"

    @OptionGroup var shared: SharedOptions

    func run() throws {
        let path = try socket ?? BridgeSockets.http(in: try shared.directories.locations().runDirectory)
        // Nothing is made where nobody answers.
        var connection = try shared.connect()
        var test = try SelftestRun.prepare(socket: path, profile: profile, nonceRule: (try? shared.bridgeReport())?.nonce ?? "echo")
        // Whoever loses patience waits for the clean-up; the signal then has its effect.
        let before = Self.holdSignals()
        test.run { try shared.ask(&connection, $0, $1) }
        Self.restoreSignals(before)
        let report = test.report
        shared.output.show(report.json, text: report.text(width: shared.output.width))
        guard report.hasPassed else { throw CommandError(.refused, report.surprise) }
    }

    private static func holdSignals() -> sigset_t {
        var held = sigset_t()
        sigemptyset(&held)
        for signal in [SIGTERM, SIGINT, SIGHUP] { sigaddset(&held, signal) }
        var before = sigset_t()
        pthread_sigmask(SIG_BLOCK, &held, &before)
        return before
    }

    private static func restoreSignals(_ before: sigset_t) {
        var before = before
        pthread_sigmask(SIG_SETMASK, &before, nil)
    }
}

/// What a self-test found.
package struct SelftestReport: Sendable {
    package struct Check: Sendable, Equatable {
        package var name: String
        package var hasPassed: Bool
        package var found: String

        package init(_ name: String, _ hasPassed: Bool, _ found: String) {
            self.name = name
            self.hasPassed = hasPassed
            self.found = found
        }
    }

    package var checks: [Check] = []
    /// From ca-core's reply to the revocation to the end of the first answer that said so, in microseconds.
    package var delay: Int64?

    package init() {}

    package var hasPassed: Bool { checks.allSatisfy(\.hasPassed) }

    package var surprise: String { checks.first { !$0.hasPassed }.map { "\($0.name): \($0.found)" } ?? "" }

    package var json: JSON {
        .object([
            .init("passed", .bool(hasPassed)), .init("delay_us", delay.map { .integer($0) } ?? .null),
            .init(
                "checks",
                .array(
                    checks.map {
                        .object([
                            .init("check", .string($0.name)), .init("passed", .bool($0.hasPassed)), .init("found", .string($0.found)),
                        ])
                    })),
        ])
    }

    package func text(width: Int) -> String {
        var table = TextTable([.init(""), .init(""), .init("", isProse: true, least: 20)], hasHeading: false)
        for check in checks { table.add([check.hasPassed ? "ok" : "FAIL", check.name, check.found]) }
        return table.rendered(width: width)
    }

    /// Microseconds as milliseconds with two digits.
    package static func milliseconds(_ microseconds: Int64) -> String {
        let hundredths = max(0, microseconds) / 10
        let rest = hundredths % 100
        return "\(hundredths / 100).\(rest < 10 ? "0" : "")\(rest) ms"
    }
}

/// One self-test on its way.
private struct SelftestRun: ~Copyable {
    typealias Ask = (_ task: String, _ parameters: [(String, JSON?)]) throws -> JSON

    /// A revocation that is not seen for so long never will be.
    private static let patience = Duration.seconds(10)
    /// The longest CRL that the core gives out at once.
    private static let longestList = 16 << 20

    private(set) var report = SelftestReport()
    private var client: HTTPClient
    private let commonName: String
    private let profile: String
    private let nonceRule: String

    init(_ client: consuming HTTPClient, commonName: String, profile: String, nonceRule: String) {
        self.client = client
        self.commonName = commonName
        self.profile = profile
        self.nonceRule = nonceRule
    }

    static func prepare(socket: String, profile: String, nonceRule: String) throws -> SelftestRun {
        SelftestRun(
            try client(of: socket), commonName: "ocsp-selftest-\(Hexadecimal.encode(try random(8)))", profile: profile, nonceRule: nonceRule
        )
    }

    private static func client(of socket: String) throws(CommandError) -> HTTPClient {
        do throws(OCSPClientError) { return try HTTPClient(socket: socket) } catch { throw CommandError(.refused, error.message) }
    }

    private static func random(_ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        guard getentropy(&bytes, count) == 0 else { throw CommandError(.refused, "the system gives no random bytes") }
        return bytes
    }

    /// Makes one check; what it throws is its finding.
    private mutating func check(_ name: String, _ body: (inout SelftestRun) throws -> String) -> Bool {
        do {
            let found = try body(&self)
            report.checks.append(.init(name, true, found))
            return true
        } catch {
            report.checks.append(.init(name, false, "\(error)"))
            return false
        }
    }

    mutating func run(_ ask: Ask) {
        var certificate: Issued?
        // An answer that did not arrive may have been a certificate all the same: what has the name goes.
        let isIssued = check("issue") { run in
            let issued = try run.issue(ask)
            certificate = issued
            return "\(run.commonName), serial \(issued.serial)"
        }
        if isIssued, let certificate { _ = observe(certificate, ask) }
        let commonName = commonName
        _ = check("delete") { _ in
            do { _ = try ask("delete", [("dn", .string(commonName))]) } catch let error as CommandError {
                guard !isIssued, error.message.hasPrefix("Certificate not found") else { throw error }
                return "nothing was made"
            }
            return commonName
        }
    }

    private struct Issued {
        let authority: OCSPAuthority
        let authorityDER: [UInt8]
        let serial: String
        let serialNumber: [UInt8]
    }

    private mutating func issue(_ ask: Ask) throws -> Issued {
        let pem = try ask("get_ca", []).stringValue ?? ""
        guard let der = PEM.decodeFirst(pem, labels: ["CERTIFICATE"]) else {
            throw CommandError(.refused, "the CA's answer is no certificate")
        }
        let authority = try OCSPAuthority(der: der)
        // The key goes out with the answer, and nowhere from here.
        let answer = try ask(
            "generate", [("cn", .string(commonName)), ("profile", .string(profile)), ("duration", .integer(1)), ("local", false)])
        guard let certificate = PEM.decodeFirst(answer.text("certificate"), labels: ["CERTIFICATE"]) else {
            throw CommandError(.refused, "the CA's answer is no certificate")
        }
        return Issued(
            authority: authority, authorityDER: der, serial: answer.text("serial"),
            serialNumber: try authority.serialNumber(ofCertificate: certificate))
    }

    /// - Returns: whether there was no surprise.
    private mutating func observe(_ issued: Issued, _ ask: Ask) -> Bool {
        let began = Int64(time(nil))
        return check("GET /ca.crt") { try $0.document("/ca.crt", "application/pkix-cert") { issued.authorityDER } }
            && check("GET /crl") { run in
                try run.document("/crl", "application/pkix-crl") {
                    Base64.decode((try ask("get_crl", []).stringValue ?? "").utf8) ?? []
                }
            }
            && check("never issued") { run in
                // As no certificate of this CA is numbered: the first bits of theirs are a time.
                let question = OCSPQuestion([[0x7f] + (try Self.random(19))], of: issued.authority, nonce: try run.nonceIfRequired())
                return try run.expect("unknown", question, .post, issued.authority) { $0 == .unknown }
            }
            && askInEveryWay("", issued, expecting: "good") { $0 == .good }
            && check("revoke") { try $0.revoke(issued, ask) }
            && askInEveryWay(" revoked", issued, expecting: "revoked as superseded") { status in
                guard case .revoked(let time, let reason) = status else { return false }
                return (began...Int64(Glibc.time(nil))).contains(time) && reason == .superseded
            }
    }

    private mutating func document(_ path: String, _ type: String, due: () throws -> [UInt8]) throws -> String {
        let end = SuspendingClock.now.advanced(by: Self.patience)
        while true {
            let answer = try client.get(path, limit: Self.longestList)
            guard answer.status == 200, answer.header("content-type") == type else {
                throw CommandError(.refused, "HTTP status \(answer.status), \(answer.header("content-type") ?? "no content type")")
            }
            if answer.body == (try due()) { return "\(answer.body.count) bytes, the CA's own" }
            // A CRL may have been published between the two.
            guard SuspendingClock.now < end else { throw CommandError(.refused, "\(answer.body.count) bytes, which are not the CA's") }
            usleep(50_000)
        }
    }

    private func nonceIfRequired() throws -> [UInt8]? { nonceRule == "require" ? try Self.random(32) : nil }

    private mutating func askInEveryWay(
        _ suffix: String, _ issued: Issued, expecting what: String, _ isExpected: (OCSPCertStatus) -> Bool
    ) -> Bool {
        for hasNonce in [false, true] {
            for method in [OCSPMethod.post, .get] {
                for hash in OCSPQuestion.Hash.allCases {
                    let name = "\(method.rawValue) \(hash.rawValue)\(hasNonce ? " nonce" : "")\(suffix)"
                    let isDone = check(name) { run in
                        let question = OCSPQuestion(
                            [issued.serialNumber], of: issued.authority, hash: hash, nonce: hasNonce ? try Self.random(32) : nil)
                        guard hasNonce || run.nonceRule != "require" else {
                            return try run.expectRefusal(question, method, issued.authority)
                        }
                        return try run.expect(what, question, method, issued.authority, isExpected)
                    }
                    guard isDone else { return false }
                }
            }
        }
        return true
    }

    private mutating func expect(
        _ what: String, _ question: OCSPQuestion, _ method: OCSPMethod, _ authority: OCSPAuthority, _ isExpected: (OCSPCertStatus) -> Bool
    ) throws -> String {
        let answer = try client.ask(question, by: method)
        let verdict = try authority.judge(
            answer.body, to: question, now: Int64(time(nil)), isNonceIgnored: nonceRule == "ignore")
        guard isExpected(verdict.status) else { throw CommandError(.refused, "\(verdict.status), where \(what) is due") }
        return "\(what), until \(UnixTime(verdict.nextUpdate).rfc3339)"
    }

    private mutating func expectRefusal(_ question: OCSPQuestion, _ method: OCSPMethod, _ authority: OCSPAuthority) throws -> String {
        let answer = try client.ask(question, by: method)
        do throws(OCSPClientError) { _ = try authority.judge(answer.body, to: question, now: Int64(time(nil))) } catch {
            guard error.code == .refused else { throw error }
            return "refused, as ocsp.nonce: require says"
        }
        throw CommandError(.refused, "answered, though ocsp.nonce is require")
    }

    /// Revokes, and asks until the first answer that says so.
    private mutating func revoke(_ issued: Issued, _ ask: Ask) throws -> String {
        _ = try ask("revoke", [("serial", .string(issued.serial)), ("reason", "superseded")])
        let replied = SuspendingClock.now
        var asked = 0
        while true {
            let question = OCSPQuestion([issued.serialNumber], of: issued.authority, nonce: try nonceIfRequired())
            asked += 1
            let answer = try client.ask(question, by: .post)
            let past = replied.duration(to: SuspendingClock.now)
            let verdict = try issued.authority.judge(
                answer.body, to: question, now: Int64(time(nil)), isNonceIgnored: nonceRule == "ignore")
            if case .revoked = verdict.status {
                let microseconds = past.components.seconds * 1_000_000 + past.components.attoseconds / 1_000_000_000_000
                report.delay = microseconds
                return "answer \(asked) said so, \(SelftestReport.milliseconds(microseconds)) after the reply"
            }
            guard past < Self.patience else { throw CommandError(.refused, "still \(verdict.status) \(past) after the reply") }
        }
    }
}
