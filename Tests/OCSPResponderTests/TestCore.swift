// A ca-core for tests: ocsp.sock and events.sock in one thread, that tells statuses, certifies keys and says what it is told to.
import Crypto
import Foundation
import RevocationFormats
import SwiftASN1
import Synchronization
import TestPrograms
import Threads
import UPKIProtocol
import X509
import ZeroMQ

import enum PKI.Base64
import enum PKI.Hexadecimal

/// A directory of its own, removed with everything in it.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/ocsp-tests-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw TestFailure("no temporary directory") }
        path = String(cString: made)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// A CA that certifies responders.
struct TestCA: Sendable {
    let key: P256.Signing.PrivateKey
    let name: DistinguishedName
    let certificate: Certificate
    let der: [UInt8]

    init(_ commonName: String = "Test CA", now: Int64, days: Int64 = 365) throws {
        let name = try DistinguishedName {
            OrganizationName("Test")
            CommonName(commonName)
        }
        let key = P256.Signing.PrivateKey()
        self.key = key
        self.name = name
        certificate = try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: .init(key.publicKey),
            notValidBefore: Date(timeIntervalSince1970: Double(now - 86_400)),
            notValidAfter: Date(timeIntervalSince1970: Double(now + days * 86_400)), issuer: name, subject: name,
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                SubjectKeyIdentifier(hash: .init(key.publicKey))
            }, issuerPrivateKey: .init(key))
        der = try Self.der(certificate)
    }

    static func der(_ certificate: Certificate) throws -> [UInt8] {
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        return serializer.serializedBytes
    }

    /// What a responder's certificate may be made wrong in.
    struct Flaws: OptionSet, Sendable {
        let rawValue: Int

        static let otherKey = Flaws(rawValue: 1)
        static let otherPurpose = Flaws(rawValue: 2)
        static let otherIssuer = Flaws(rawValue: 4)
        static let expired = Flaws(rawValue: 8)
        static let badSignature = Flaws(rawValue: 16)
    }

    func responder(_ request: [UInt8], now: Int64, hours: Int64 = 48, _ flaws: Flaws = []) throws -> [UInt8] {
        let request = try CertificateSigningRequest(derEncoded: request)
        let key = flaws.contains(.otherKey) ? .init(P256.Signing.PrivateKey().publicKey) : request.publicKey
        let name = flaws.contains(.otherIssuer) ? try DistinguishedName { CommonName("Another CA") } : self.name
        let signer = flaws.contains(.badSignature) ? P256.Signing.PrivateKey() : self.key
        let start = flaws.contains(.expired) ? now - (hours + 1) * 3_600 : now - 300
        return try Self.der(
            Certificate(
                version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: key,
                notValidBefore: Date(timeIntervalSince1970: Double(start)),
                notValidAfter: Date(timeIntervalSince1970: Double(start + 300 + hours * 3_600)), issuer: name,
                subject: try DistinguishedName { CommonName("Test responder") }, signatureAlgorithm: .ecdsaWithSHA256,
                extensions: try Certificate.Extensions {
                    Critical(KeyUsage(digitalSignature: true))
                    try ExtendedKeyUsage(flaws.contains(.otherPurpose) ? [.ocspSigning, .serverAuth] : [.ocspSigning])
                    SubjectKeyIdentifier(hash: key)
                    AuthorityKeyIdentifier(keyIdentifier: SubjectKeyIdentifier(hash: .init(self.key.publicKey)).keyIdentifier)
                    Certificate.Extension(oid: [1, 3, 6, 1, 5, 5, 7, 48, 1, 5], critical: false, value: [5, 0])
                }, issuerPrivateKey: .init(signer)))
    }

    var issuer: OCSPIssuer {
        get throws {
            var serializer = DER.Serializer()
            try serializer.serialize(name)
            let bits = key.publicKey.x963Representation
            return OCSPIssuer(
                nameSHA1: Array(Insecure.SHA1.hash(data: serializer.serializedBytes)), keySHA1: Array(Insecure.SHA1.hash(data: bits)),
                nameSHA256: Array(SHA256.hash(data: serializer.serializedBytes)), keySHA256: Array(SHA256.hash(data: bits)))
        }
    }
}

/// A core process as far as the responder can tell.
final class TestCore: Sendable {
    /// What it answers with; a test changes it while it runs.
    struct World: Sendable {
        var ca: TestCA
        var statuses: [String: (status: String, time: Int64, reason: String)] = [:]
        var sequence: Int64 = 0
        /// The number that statuses claim to be read at; nil is the present one.
        var readAt: Int64?
        /// Questions are kept open until `release`.
        var holdsStatuses = false
        var isSilent = false
        /// Heartbeats every 25 ms, as ca-core's; else a test says when.
        var beatsByItself = false
        var flaws: TestCA.Flaws = []
        var certifies = true
        /// Certificates are issued and their answers kept back until `release`.
        var holdsCertificates = false
        /// A line that `statuses` is refused with.
        var refusesStatuses: String?
        /// The serial numbers of the certificates that it gave to responders.
        var signers: [String] = []
        var hours: Int64 = 48
        var crl: (number: String, der: [UInt8], thisUpdate: Int64, nextUpdate: Int64)?
        /// What it gives in place of the CRL it names.
        var wrongList: [UInt8]?
        var pieceBytes = 1 << 20
        var ocsp: [JSON.Member] = []
        var now: @Sendable () -> Int64

        func crlNumber() -> JSON { crl.map { .string($0.number) } ?? .null }
    }

    private enum Command: Sendable {
        case publish([UInt8])
        case release(Mailbox<Void>)
        case stop
    }

    /// The serial numbers of each `statuses` message, but for those that ask for the responder's own certificates.
    let questions: Mailbox<[String]>
    let signerQuestions: Mailbox<[String]>
    /// Every `responder_certificate` request.
    let certificationRequests: Mailbox<[UInt8]>
    let subscriptions: Mailbox<[UInt8]>
    let world: Mutex<World>
    let instance: String
    private let commands: Mailbox<Command>
    private let thread = Mutex<OwnedThread?>(nil)

    init(_ directory: String, _ world: World, instance: String = "first") throws {
        questions = try Mailbox()
        signerQuestions = try Mailbox()
        certificationRequests = try Mailbox()
        subscriptions = try Mailbox()
        commands = try Mailbox()
        self.world = Mutex(world)
        self.instance = instance
        let started = try Mailbox<String?>()
        let thread = try OwnedThread(name: "test-core") { [self] in
            do { try serve(directory) { started.post(nil) } } catch { started.post("\(error)") }
        }
        self.thread.withLock { $0 = thread }
        if let failure = started.take(upTo: 1)[0] { throw TestFailure(failure) }
    }

    deinit { stop() }

    /// Ends it as a kill would: its sockets are gone when this returns.
    func stop() {
        commands.post(.stop)
        thread.withLock { $0 }?.join()
    }

    /// Answers every question that is held, before it returns.
    func release() throws {
        world.withLock { ($0.holdsStatuses, $0.holdsCertificates) = (false, false) }
        let done = try Mailbox<Void>()
        commands.post(.release(done))
        try done.next()
    }

    func publish(_ text: String) { commands.post(.publish(Array(text.utf8))) }

    /// - Parameter monotonic: when it says that it was made; nil says nothing.
    func beat(_ sequence: Int64? = nil, monotonic: MonotonicTime? = nil) {
        let (known, crl) = world.withLock { ($0.sequence, $0.crlNumber()) }
        var members: [JSON.Member] = [
            .init("event", "heartbeat"), .init("instance", .string(instance)), .init("sequence", .integer(sequence ?? known)),
            .init("crl", crl),
        ]
        if let monotonic { members.append(.init("monotonic", .integer(monotonic.nanoseconds))) }
        publish(JSON.object(members).text)
    }

    /// Changes a status and says so, as ca-core does.
    func set(_ serial: String, _ status: String, time: Int64 = 0, reason: String = "unspecified") {
        let sequence = change(serial, status, time: time, reason: reason)
        say(serial, status, time: time, reason: reason, sequence: sequence)
    }

    /// Changes a status without a word.
    @discardableResult
    func change(_ serial: String, _ status: String, time: Int64 = 0, reason: String = "unspecified") -> Int64 {
        world.withLock {
            $0.statuses[serial] = (status, time, reason)
            $0.sequence += 1
            return $0.sequence
        }
    }

    func say(_ serial: String, _ status: String, time: Int64 = 0, reason: String = "unspecified", sequence: Int64) {
        publish(
            JSON.object([
                .init("event", "status"), .init("instance", .string(instance)), .init("sequence", .integer(sequence)),
                .init("serial", .string(serial)), .init("status", .string(status)), .init("reason", .string(reason)),
                .init("time", .integer(time)),
            ]).text)
    }

    // MARK: Its thread

    private func serve(_ directory: String, ready: () -> Void) throws {
        let context = try ZMQContext()
        let socket = try ZMQSocket(.router, in: context)
        try socket.bind("ipc://\(directory)/ocsp.sock")
        let events = try ZMQSocket(.extendedPublish, in: context)
        try events.bind("ipc://\(directory)/events.sock")
        var poll = ZMQPollSet()
        poll.add(descriptor: commands.descriptor)
        poll.add(socket)
        poll.add(events)
        ready()
        var held: [[[UInt8]]] = []
        while true {
            let beats = world.withLock { $0.beatsByItself && !$0.isSilent }
            _ = try poll.wait(milliseconds: commands.mayPoll() ? (beats ? 25 : -1) : 0)
            if beats { beat(monotonic: .now) }
            var waiting: [Command] = []
            commands.takeAll(into: &waiting)
            for command in waiting {
                switch command {
                case .publish(let frame): _ = try events.sendNow(frame)
                case .release(let done):
                    for parts in held { try answer(parts, on: socket) }
                    held = []
                    done.post(())
                case .stop: return
                }
            }
            while let message = try events.receiveNow(ZMQReceiveLimits(parts: 1, bytes: 100)) { subscriptions.post(message.parts[0]) }
            while let message = try socket.receiveNow(ZMQReceiveLimits(parts: 4, bytes: 8 << 20)) {
                let request = try Request(frame: message.parts[2])
                if request.task == "statuses" {
                    let serials = request.parameters["serials"]?.arrayValue?.compactMap(\.stringValue) ?? []
                    if let first = serials.first, world.withLock({ $0.signers.contains(first) }) {
                        signerQuestions.post(serials)
                        try answer(message.parts, on: socket)
                        continue
                    }
                    questions.post(serials)
                    if world.withLock({ $0.holdsStatuses }) {
                        held.append(message.parts)
                        continue
                    }
                }
                if request.task == "responder_certificate", world.withLock({ $0.holdsCertificates }) {
                    certificationRequests.post([])
                    held.append(message.parts)
                    continue
                }
                try answer(message.parts, on: socket)
            }
        }
    }

    private func answer(_ parts: [[UInt8]], on socket: borrowing ZMQSocket) throws {
        let header = try InternalLink.RequestHeader(decoding: parts[1])
        let world = world.withLock { $0 }
        if world.isSilent { return }
        let kind: InternalLink.AnswerHeader.Kind = header.kind == .hello ? .helloAnswer : .answer
        let frame: [UInt8]
        do throws(Refusal) { frame = Answer.frame(try data(try Request(frame: parts[2]), world)) } catch { frame = Answer.frame(error) }
        _ = try socket.sendNow(parts: [parts[0], InternalLink.AnswerHeader(kind: kind, id: header.id).encoded, frame])
    }

    private func data(_ request: Request, _ world: World) throws(Refusal) -> JSON {
        switch request.task {
        case "hello": return ["protocol": .integer(1), "program": "ca-core 0.1.0", "instance": .string(instance)]
        case "statuses":
            if let line = world.refusesStatuses { throw Refusal(.busy, line) }
            let serials = request.parameters["serials"]?.arrayValue ?? []
            return ["sequence": .integer(world.readAt ?? world.sequence), "statuses": .array(serials.map { Self.status($0, world) })]
        case "responder_certificate":
            let csr = Base64.decode((request.parameters["csr"]?.stringValue ?? "").utf8) ?? []
            certificationRequests.post(csr)
            guard world.certifies, let der = try? world.ca.responder(csr, now: world.now(), hours: world.hours, world.flaws) else {
                throw Refusal(.busy, "Busy: no certificates today")
            }
            if let certificate = try? Certificate(derEncoded: der),
                let serial = OCSPSerial(magnitude: certificate.serialNumber.bytes)?.decimal
            {
                self.world.withLock {
                    $0.signers.append(serial)
                    $0.statuses[serial] = ("good", 0, "")
                }
            }
            return ["certificate": Self.base64(der), "ca": Self.base64(world.ca.der), "not_after": .integer(0)]
        case "publication":
            let crl: JSON =
                world.crl.map { crl in
                    [
                        "number": .string(crl.number), "bytes": .integer(crl.der.count),
                        "sha256": .string(Hexadecimal.encode(Array(SHA256.hash(data: crl.der)))),
                        "this_update": .integer(crl.thisUpdate), "next_update": .integer(crl.nextUpdate),
                    ]
                } ?? .null
            return ["ca": Self.base64(world.ca.der), "crl": crl, "base_url": .null, "ocsp": .object(world.ocsp)]
        case "published_crl":
            guard let crl = world.crl, crl.number == request.parameters["number"]?.stringValue,
                let offset = request.parameters["offset"]?.integerValue
            else { throw Refusal(.notFound, "Not found: another CRL is published") }
            let rest = (world.wrongList ?? crl.der).dropFirst(Int(offset))
            return ["data": Self.base64(Array(rest.prefix(world.pieceBytes))), "last": .bool(rest.count <= world.pieceBytes)]
        default: throw Refusal(.unknownTask, "Unknown task: \(request.task)")
        }
    }

    private static func status(_ serial: JSON, _ world: World) -> JSON {
        let known = serial.stringValue.flatMap { world.statuses[$0] }
        var members: [JSON.Member] = [.init("status", .string(known?.status ?? "unknown")), .init("serial", serial), .init("cn", "")]
        if let known, known.status == "revoked" {
            members.append(.init("revoke_reason", .string(known.reason)))
            members.append(.init("revoke_time", .integer(known.time)))
        }
        return .object(members)
    }

    private static func base64(_ bytes: [UInt8]) -> JSON { .string(String(decoding: Base64.encode(bytes), as: UTF8.self)) }
}
