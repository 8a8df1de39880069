// What takes its time: registering, renewing, asking for the CA's next keys. A thread of its own, so that requests never wait for it.

import DurableFiles
import Enrolment
import Glibc
import NodeLink
import PKI
import Synchronization
import Threads
import UPKIProtocol

/// The node of a tunnel, and what keeps it one.
final class TunnelWorker: Sendable {
    enum Order: Sendable {
        case onboard(Onboarding, answer: @Sendable ([UInt8]) -> Void)
        case stop
    }

    private let options: TunnelOptions
    private let orders: Mailbox<Order>
    private let log: TunnelLog
    /// Called whenever the node is another one.
    private let changed: @Sendable (NodeIdentity) -> Void
    private let present: Mutex<NodeIdentity?>
    private let trouble = Mutex<String?>(nil)

    init(
        _ options: TunnelOptions, _ identity: NodeIdentity?, orders: Mailbox<Order>, log: @escaping TunnelLog,
        changed: @escaping @Sendable (NodeIdentity) -> Void
    ) {
        self.options = options
        self.orders = orders
        self.log = log
        self.changed = changed
        present = Mutex(identity)
    }

    var identity: NodeIdentity? { present.withLock { $0 } }
    /// What keeps it from renewing, in words; nil where nothing does.
    var renewalTrouble: String? { trouble.withLock { $0 } }

    /// Does orders as they come, and looks between them whether something is due.
    func run(_ beat: LoopBeat) {
        var diary = Diary()
        var taken: [Order] = []
        publish()
        while true {
            attendIfDue(&diary)
            taken.removeAll(keepingCapacity: true)
            beat.idle()
            guard orders.take(upTo: 1, into: &taken, within: UInt64(max(10, options.lookInterval)) * 1_000_000) else { return }
            beat.passing()
            for order in taken {
                switch order {
                case .stop: return
                case .onboard(let request, let answer): answer(onboard(request))
                }
            }
        }
    }

    /// When it did what, and when it may try again.
    private struct Diary {
        var askedForKeys: Int64 = 0
        var failures: Int64 = 0
        var notBefore: Int64 = 0
    }

    private func attendIfDue(_ diary: inout Diary) {
        let now = Int64(time(nil))
        guard let identity, now >= diary.notBefore else { return }
        let isDue = now >= Self.renewalTime(identity, options.renewalShare)
        guard isDue || now - diary.askedForKeys >= options.keysInterval else { return }
        if attend(identity, renews: isDue, now) {
            diary.failures = 0
            diary.askedForKeys = now
        } else {
            diary.failures += 1
            diary.notBefore = now + min(3_600, 30 << min(diary.failures, 7))
        }
    }

    static func renewalTime(_ identity: NodeIdentity, _ share: Double) -> Int64 {
        let life = Double(identity.notAfter.seconds - identity.notBefore.seconds)
        return identity.notBefore.seconds + Int64(life * share)
    }

    // MARK: What is due

    /// - Returns: whether all of it was done.
    private func attend(_ known: NodeIdentity, renews: Bool, _ now: Int64) -> Bool {
        var identity = known
        do {
            var connection = try NodeConnection.open(identity.servers, port: .core, identity: identity.curve, timeout: .seconds(6))
            if renews {
                try Registration.renew(&identity, &connection)
                keep(identity)
                log(.info, "the node's certificate was renewed: valid until \(identity.notAfter.rfc3339)")
                publish()
            }
            let transport = try connection.ask("transport", timeout: .seconds(5))
            if try identity.take(transport: transport) {
                log(.info, "the CA has other addresses or keys: they are kept")
                keep(identity)
            }
            trouble.withLock { $0 = nil }
            return true
        } catch {
            let words = "\(error)"
            guard renews else {
                log(.debug, "the CA's next keys were not asked for: \(words)")
                return false
            }
            let line = "the node's certificate, valid until \(identity.notAfter.rfc3339), could not be renewed: \(words)"
            log(identity.notAfter.seconds <= now ? .error : .warning, line)
            trouble.withLock { $0 = line }
            return false
        }
    }

    private func keep(_ identity: NodeIdentity) {
        present.withLock { $0 = identity }
        changed(identity)
    }

    // MARK: Registering

    /// - Returns: the frame for the RA: with the key that was made here, which crosses this host's loopback alone.
    private func onboard(_ request: Onboarding) -> [UInt8] {
        do {
            return Answer.frame(try answer(request))
        } catch let refusal as Refusal {
            return Answer.frame(refusal)
        } catch let error as NodeLinkError where error.code == .refused {
            log(.warning, "the CA refused the registration: \(error.message)")
            return Answer.frame(Refusal(.requestRefused, error.message))
        } catch {
            log(.warning, "registering failed: \(error)")
            return Answer.frame(Refusal(.busy, "Busy: \(error); try again"))
        }
    }

    private func answer(_ request: Onboarding) throws -> JSON {
        if let identity {
            guard identity.commonName == request.commonName else {
                throw Refusal(.requestRefused, "Request refused: this tunnel is the node \(identity.commonName), not \(request.commonName)")
            }
            return Self.answer(identity, request.profile)
        }
        guard let string = options.enrolment else {
            throw Refusal(.registrationClosed, "Registration is closed (this tunnel has no enrolment string; start it with --enroll)")
        }
        if let only = string.commonName, only != request.commonName {
            throw Refusal(
                .requestRefused,
                "Request refused: the enrolment string is for \(only); give the RA that name, or make a string for \(request.commonName)")
        }
        let isSecondTry = NodeKeys.exist(in: options.directory)
        let keys = try NodeKeys(in: options.directory)
        let told = try Registration.ask(
            string, keys, commonName: request.commonName, names: request.names, profile: request.profile, isSecondTry: isSecondTry)
        let identity = try NodeIdentity(
            directory: options.directory, keys: keys, string: string, commonName: request.commonName, answer: told)
        // Kept before the RA hears of it.
        try identity.write()
        keep(identity)
        log(.info, "registered as the node \(identity.commonName), valid until \(identity.notAfter.rfc3339)")
        return Self.answer(identity, request.profile)
    }

    private static func answer(_ identity: NodeIdentity, _ profile: String) -> JSON {
        let subject = PEM.decodeFirst(identity.certificate, labels: ["CERTIFICATE"]).flatMap { NodeIdentity.subject(of: $0) }
        return [
            "status": "registered", "cn": .string(identity.commonName), "profile": .string(profile),
            "dn": .string(subject ?? identity.commonName), "serial": .string(identity.serial.decimal),
            "certificate": .string(identity.certificate), "ca_certificate": .string(identity.authority),
            "private_key": .string(identity.keys.certificateKey.pemRepresentation + "\n"),
        ]
    }

    // MARK: The RA's folder

    /// Puts the node's certificate where the RA looks, when the RA's key is this node's.
    private func publish() {
        guard let identity, let folder = options.registrationAuthorityDirectory else { return }
        do throws(TunnelError) {
            if try RegistrationAuthorityFolder(folder).update(identity) {
                log(.info, "\(folder)/ra.crt is the node's certificate; the RA reads it when it starts")
            }
        } catch {
            log(.warning, error.message)
        }
    }
}
