// A responder between a test and its core, with a clock that the test turns.
import Crypto
import Foundation
import OCSPResponder
import RevocationFormats
import Synchronization
import TestPrograms
import Threads
import UPKIProtocol
import X509

/// A clock that stands still until a test turns it.
final class TestClock: Sendable {
    private let state: Mutex<(monotonic: UInt64, unix: Int64)>
    private let pause = Mutex<(thread: UInt, milliseconds: Int)?>(nil)

    init(unix: Int64 = Int64(Date().timeIntervalSince1970)) { state = Mutex((1_000_000_000_000, unix)) }

    /// So much time passes right after this thread has looked at the clock the next time.
    func pauseAfterNextLook(milliseconds: Int) { pause.withLock { $0 = (UInt(pthread_self()), milliseconds) } }

    private func look() -> MonotonicTime {
        let now = MonotonicTime(nanoseconds: state.withLock { $0.monotonic })
        let milliseconds = pause.withLock { pause -> Int in
            guard let wanted = pause, wanted.thread == UInt(pthread_self()) else { return 0 }
            pause = nil
            return wanted.milliseconds
        }
        advance(milliseconds: milliseconds)
        return now
    }

    var unix: Int64 { state.withLock { $0.unix } }

    /// Time passes.
    func advance(milliseconds: Int) {
        state.withLock {
            $0.monotonic += UInt64(milliseconds) * 1_000_000
            $0.unix += Int64(milliseconds / 1_000)
        }
    }

    /// Somebody sets the time of day.
    func set(unix: Int64) { state.withLock { $0.unix = unix } }

    var clock: ResponderClock {
        ResponderClock(
            monotonic: { [self] in look() },
            unixTime: { [self] in state.withLock { $0.unix } })
    }
}

final class TestBridge {
    let directory: TemporaryDirectory
    let clock = TestClock()
    let ca: TestCA
    private(set) var core: TestCore
    let responder: Responder
    let thread: CoreThread
    private let loop: Mailbox<@Sendable () -> Void>
    private let loopThread: OwnedThread
    private(set) var log: [String] = []
    private var answers: [Mailbox<OCSPAnswer>] = []

    /// Turning the clock by less than that is no standstill; milliseconds.
    static let toleratedDelay = 600

    /// - Parameters:
    ///   - authorityDays: how long the CA's certificate is still valid.
    ///   - change: the core's world at its start.
    init(
        cacheBytes: Int = 1 << 20, heard: Bool = true, toleratedDelay: Int = TestBridge.toleratedDelay, authorityDays: Int64 = 365,
        _ change: (inout TestCore.World) -> Void = { _ in }
    ) throws {
        directory = try TemporaryDirectory()
        ca = try TestCA(now: clock.unix, days: authorityDays)
        var world = TestCore.World(ca: ca, now: { [clock] in clock.unix })
        world.statuses = ["1": ("good", 0, ""), "2": ("good", 0, ""), "3": ("expired", 0, "")]
        world.statuses["4"] = ("revoked", clock.unix - 3_600, "keyCompromise")
        world.sequence = 10
        change(&world)
        core = try TestCore(directory.path, world)
        responder = try Responder(cacheBytes: cacheBytes, clock: clock.clock)
        var options = CoreLoopOptions(runDirectory: directory.path, program: "ca-ocsp-bridge 0.1.0")
        options.toleratedDelay = toleratedDelay
        thread = try CoreThread(options, responder: responder)
        loop = try Mailbox()
        loopThread = try OwnedThread(name: "loop") { [loop] in
            var work: [@Sendable () -> Void] = []
            while loop.take(upTo: 64, into: &work) {
                for item in work { item() }
                work.removeAll()
            }
        }
        try thread.start(hops: [{ [loop] in loop.post($0) }])
        if heard {
            try hear()
            try settle("it can sign") { $0.at("signers")?.arrayValue?.isEmpty == false }
        }
    }

    deinit {
        thread.stop(reason: "the test is over")
        thread.join()
        loop.close()
        loopThread.join()
        core.stop()
    }

    /// Lets the core be heard, once the responder has subscribed.
    func hear() throws {
        guard try core.subscriptions.next() == [1] else { throw TestFailure("another subscription") }
        try beat()
    }

    /// A heartbeat that the responder takes in.
    func beat(_ sequence: Int64? = nil) throws {
        let wanted = sequence ?? core.world.withLock { $0.sequence }
        core.beat(sequence)
        try settle("the heartbeat is heard") {
            $0.at("core", "sequence")?.integerValue == wanted && $0.at("core", "state") == "live"
        }
    }

    var report: JSON { (try? JSON(parsing: responder.statusReport)) ?? .null }

    /// Waits for what follows from something that happened; fails after 20 s.
    func settle(_ what: String, _ holds: (JSON) -> Bool) throws {
        let patience = MonotonicTime.now.advanced(byMilliseconds: 20_000)
        while !holds(report) {
            if .now > patience { throw TestFailure("\(what): not within 20 s: \(report.text)\n\(lines().joined(separator: "\n"))") }
            usleep(500)
        }
    }

    func settleCounter(_ name: String, _ value: Int64) throws {
        try settle("\(name) is \(value)") { $0.at("counters", name)?.integerValue == value }
    }

    func counter(_ name: String) -> Int64 { report.at("counters", name)?.integerValue ?? -1 }

    /// What it has logged so far.
    func lines() -> [String] {
        var events: [ResponderEvent] = []
        _ = thread.events.take(upTo: 1_000, into: &events, within: 0)
        for case .log(let level, let line) in events { log.append("\(level.rawValue): \(line)") }
        return log
    }

    /// Another process takes the core's place.
    func replaceCore(instance: String = "second", _ change: (inout TestCore.World) -> Void = { _ in }) throws {
        core.stop()
        try settle("the core's end is noticed") { $0.at("core", "link") == "away" }
        var world = core.world.withLock { $0 }
        change(&world)
        core = try TestCore(directory.path, world, instance: instance)
    }

    // MARK: Asking

    func id(_ serial: UInt8, _ form: OCSPCertIDForm = .sha1, of ca: TestCA? = nil) throws -> OCSPCertID {
        OCSPCertID(form: form, issuer: try (ca ?? self.ca).issuer, serialNumber: [serial])
    }

    /// Asks, and gives where the answer will be.
    func begin(_ request: [UInt8]) throws -> Mailbox<OCSPAnswer> {
        let answers = try Mailbox<OCSPAnswer>()
        let answer = request.withUnsafeBytes { bytes in
            responder.answer(bytes, on: 0) { answers.post($0) }
        }
        if let answer { answers.post(answer) }
        return answers
    }

    func ask(_ request: [UInt8]) throws -> OCSPAnswer { try begin(request).next() }

    func ask(_ serial: UInt8, _ form: OCSPCertIDForm = .sha1, nonce: [UInt8]? = nil) throws -> OCSPAnswer {
        try ask(OCSPRequest(certIDs: [try id(serial, form)], nonce: nonce).serialized)
    }

    /// What a relying party reads: the signature verified, the signer certified for this by the CA.
    func read(_ answer: OCSPAnswer, by ca: TestCA? = nil) throws -> BasicOCSPResponse {
        let response = try OCSPResponse(der: answer.der)
        guard response.status == .successful, let basic = response.basic, let der = basic.certificates.first else {
            throw TestFailure("no basic response: \(response.status)")
        }
        let certificate = try Certificate(derEncoded: der)
        guard (ca ?? self.ca).certificate.publicKey.isValidSignature(certificate.signature, for: certificate),
            let key = P256.Signing.PublicKey(certificate.publicKey),
            key.isValidSignature(try P256.Signing.ECDSASignature(derRepresentation: basic.signature), for: basic.tbsBytes)
        else { throw TestFailure("a signature does not verify") }
        return basic
    }

    func status(_ answer: OCSPAnswer) throws -> OCSPCertStatus? { try read(answer).responses.first?.status }
}

extension Mailbox {
    /// The next element, or a failure after 20 s.
    func next() throws -> Element {
        var elements: [Element] = []
        _ = take(upTo: 1, into: &elements, within: 20_000_000_000)
        guard let element = elements.first else { throw TestFailure("nothing came within 20 s") }
        return element
    }
}

extension JSON {
    /// A member of a member.
    func at(_ path: String...) -> JSON? { path.reduce(Optional(self)) { $0?[$1] } }
}
