// Signed checkpoints of the audit log: who does not have the audit key cannot rewrite what one covers and not be found.

import Crypto
public import PKI

/// Where the audit log stood at one moment, signed with the audit key (Ed25519, RFC 8032).
public struct AuditCheckpoint: Sendable, Equatable {
    /// 1 for the first checkpoint; no number is left out.
    public var number: Int64
    /// The record that it covers, and with it all before.
    public var sequence: Int64
    public var time: UnixTime
    /// That record's hash.
    public var head: [UInt8]
    /// The hash of the checkpoint before; zeros for the first.
    public var previous: [UInt8]
    /// 64 octets.
    public var signature: [UInt8]

    public init(number: Int64, sequence: Int64, time: UnixTime, head: [UInt8], previous: [UInt8], signature: [UInt8] = []) {
        self.number = number
        self.sequence = sequence
        self.time = time
        self.head = head
        self.previous = previous
        self.signature = signature
    }

    /// What the signature is over, for the CA whose certificate has this SHA-256.
    func message(_ authority: [UInt8]) -> [UInt8] {
        var message = Array("upki-ca/audit-checkpoint/v1".utf8) + authority
        for value in [self.number, self.sequence, self.time.seconds] {
            for shift in stride(from: 56, through: 0, by: -8) { message.append(UInt8(truncatingIfNeeded: value >> Int64(shift))) }
        }
        return message + self.head + self.previous
    }

    /// What the next checkpoint carries as `previous`.
    func hash(_ authority: [UInt8]) -> [UInt8] { Array(SHA256.hash(data: self.message(authority) + self.signature)) }

    // MARK: As a line

    /// How a checkpoint begins in a log.
    public static let mark = "audit checkpoint v1 "

    /// One line that holds everything: `audit checkpoint v1 <number> <record> <time> <hash> <previous> <signature>`, octets in hexadecimal.
    public var line: String {
        let octets = [self.head, self.previous, self.signature].map { Hexadecimal.encode($0) }.joined(separator: " ")
        return "\(Self.mark)\(self.number) \(self.sequence) \(self.time.rfc3339) \(octets)"
    }

    /// Reads a checkpoint from a line of any text, such as a log; nil where the line holds none.
    public init?(line text: some StringProtocol) {
        guard let mark = text.firstRange(of: Self.mark) else { return nil }
        let fields = text[mark.upperBound...].split(separator: " ", maxSplits: 6, omittingEmptySubsequences: false).prefix(6)
        guard fields.count == 6, let number = Int64(fields[0]), let sequence = Int64(fields[1]), number > 0, sequence > 0,
            let time = UnixTime(rfc3339: String(fields[2])), let head = Hexadecimal.decode(fields[3]), head.count == 32,
            let previous = Hexadecimal.decode(fields[4]), previous.count == 32,
            // A log in JSON goes on behind it.
            let signature = Hexadecimal.decode(fields[5].prefix(128)), signature.count == 64
        else { return nil }
        self.init(number: number, sequence: sequence, time: time, head: head, previous: previous, signature: signature)
    }
}

/// Signs checkpoints with the audit key, which the rules never see.
public protocol AuditSigner: Sendable {
    /// The Ed25519 public key, 32 octets.
    var publicKey: [UInt8] { get }
    /// An Ed25519 signature, 64 octets.
    func sign(_ message: [UInt8]) throws -> [UInt8]
    /// Hears of each checkpoint once it is on disk, to tell the log.
    func announce(_ checkpoint: AuditCheckpoint)
}

/// What checkpoints of one CA are checked with.
public struct AuditKey: Sendable {
    /// SHA-256 of the CA certificate: a checkpoint is of one CA.
    let authority: [UInt8]
    private let key: Curve25519.Signing.PublicKey

    /// - Parameters:
    ///   - fingerprint: SHA-256 of the CA certificate in hexadecimal.
    ///   - publicKey: the audit key's public half, 32 octets.
    /// - Throws: `storage` where one of them is none.
    public init(fingerprint: String, publicKey: [UInt8]) throws {
        guard let authority = Hexadecimal.decode(fingerprint), authority.count == 32,
            let key = try? Curve25519.Signing.PublicKey(rawRepresentation: publicKey)
        else { throw AuthorityError(.storage, "the audit key cannot be used") }
        self.authority = authority
        self.key = key
    }

    /// Whether this CA's audit key signed it.
    public func signed(_ checkpoint: AuditCheckpoint) -> Bool {
        self.key.isValidSignature(checkpoint.signature, for: checkpoint.message(self.authority))
    }
}

/// The audit key as the writer uses it; a class, since each change holds it.
final class AuditSeal: Sendable {
    let key: AuditKey
    let signer: any AuditSigner

    init(fingerprint: String, signer: any AuditSigner) throws {
        self.key = try AuditKey(fingerprint: fingerprint, publicKey: signer.publicKey)
        self.signer = signer
    }
}

extension AuthorityState {
    /// How long a record may stand without a checkpoint before no other may follow it, in seconds.
    ///
    /// Half of what `AuditWalk` allows. A timer makes checkpoints more often; this holds whatever timers and clocks do.
    private static let longestOpen: Int64 = 30

    /// Whether a checkpoint must come before the next record.
    func mustSeal(_ now: UnixTime) -> Bool {
        guard let since = self.openSince else { return false }
        return since.advanced(bySeconds: Self.longestOpen) < now
    }

    /// Signs where the log stands and stores that.
    ///
    /// - Returns: nil where the newest checkpoint says it already.
    mutating func seal(_ seal: AuditSeal, in store: any StoreWriter, now: UnixTime) throws -> AuditCheckpoint? {
        guard self.auditSequence > self.checkpointSequence || (self.checkpointNumber == 0 && self.auditSequence > 0) else { return nil }
        let (number, isTooLarge) = self.checkpointNumber.addingReportingOverflow(1)
        guard !isTooLarge else { throw AuthorityError(.storage, "the number of the newest audit checkpoint cannot be right") }
        var checkpoint = AuditCheckpoint(
            number: number, sequence: self.auditSequence, time: now, head: self.auditHead, previous: self.checkpointHash)
        checkpoint.signature = try seal.signer.sign(checkpoint.message(seal.key.authority))
        try store.append(checkpoint)
        self.checkpointNumber = number
        self.checkpointSequence = checkpoint.sequence
        self.checkpointHash = checkpoint.hash(seal.key.authority)
        self.openSince = nil
        return checkpoint
    }
}

extension Commit {
    /// Signs the audit log as this change leaves it; durable with the change.
    public mutating func checkpoint() throws {
        self.isHousekeeping = true
        guard let checkpoint = try self.state.seal(self.seal, in: self.store, now: self.now) else { return }
        let signer = self.seal.signer
        self.followUps.append { signer.announce(checkpoint) }
    }
}

extension Authority {
    /// Whether there are records that no checkpoint covers.
    public var hasOpenRecords: Bool {
        let state = self.state
        return state.auditSequence > state.checkpointSequence
    }
}
