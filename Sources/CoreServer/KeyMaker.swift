// The thread that may take its time: scrypt and RSA keys; and the keys that it makes ahead.

import Authority
import CAKeys
import PKI
import Synchronization
import Tasks
internal import Threads
import UPKIProtocol

/// Keys for subjects: elliptic curves at once, RSA from a pool that the key maker fills while it is idle.
final class KeyPool: SubjectKeys {
    private struct State {
        var pool: [SubjectKeyType: [SubjectKeyPair]] = [:]
        var wanted: Set<SubjectKeyType> = []
    }
    private let state = Mutex(State())

    /// How many RSA keys of a type wait; a burst beyond that waits for the key maker.
    private static let size = 4

    /// Keys of these types are made ahead.
    func keep(_ types: Set<SubjectKeyType>) { self.state.withLock { $0.wanted = types.filter { $0.family == .rsa } } }

    func ready(_ type: SubjectKeyType) throws -> SubjectKeyPair? {
        guard type.family == .rsa else { return try self.make(type) }
        return self.state.withLock { state in
            state.wanted.insert(type)
            return state.pool[type]?.popLast()
        }
    }

    func make(_ type: SubjectKeyType) throws -> SubjectKeyPair {
        let key = try SubjectKey.generate(type)
        return SubjectKeyPair(privateKeyPEM: try key.pkcs8PEM(), subjectPublicKeyInfo: key.subjectPublicKeyInfoDER)
    }

    /// Makes one key that is missing.
    ///
    /// - Returns: false where the pool is full.
    func fillOne() throws -> Bool {
        let missing = self.state.withLock { state in
            SubjectKeyType.allCases.first { state.wanted.contains($0) && (state.pool[$0]?.count ?? 0) < Self.size }
        }
        guard let missing else { return false }
        let pair = try self.make(missing)
        self.state.withLock { $0.pool[missing, default: []].append(pair) }
        return true
    }
}

/// Checks seeds against the standing token, with limits for each address.
package final class SeedVerifier: SeedChecks {
    private struct Guesses {
        var wrong = 0
        /// Until then this place is refused; nil while it may still try freely.
        var notBefore: UnixTime?
    }
    private let opened: OpenedAuthority
    private let guesses = Mutex<[String: Guesses]>([:])

    /// Wrong seeds that an address may try before it has to wait.
    private static let freeGuesses = 5
    private static let longestWait: Int64 = 900

    /// Has it recorded that the seed came in clear.
    private let recordExposure: @Sendable (Caller) throws -> Void

    package init(opened: OpenedAuthority, recordExposure: @escaping @Sendable (Caller) throws -> Void) {
        self.opened = opened
        self.recordExposure = recordExposure
    }

    package func isToken(_ text: String) -> Bool { RegistrationToken.hasPrefix(text) }

    package func admit(_ caller: Caller) throws {
        let now = self.opened.authority.clock.now
        // A clock that went back locks nobody out for longer than the longest wait.
        guard let end = self.guesses.withLock({ $0[Self.place(caller)]?.notBefore }), end > now,
            end <= now.advanced(bySeconds: Self.longestWait)
        else { return }
        let wait = end.seconds - now.seconds
        throw AuthorityError(.refused, "Invalid registration seed: too many wrong seeds from here; wait \(wait) s")
    }

    private static func place(_ caller: Caller) -> String { caller.proofText }

    package func verify(seed: String, caller: Caller) throws -> Bool {
        let isRight = try self.opened.gives(seed: seed)
        // The operator on the CA's own host only checks what he knows.
        guard caller.channel != .admin else { return isRight }
        if isRight, !caller.isConfidential { try self.recordExposure(caller) }
        let now = self.opened.authority.clock.now
        self.guesses.withLock { guesses in
            let place = Self.place(caller)
            if isRight {
                guesses[place] = nil
                return
            }
            // Bounded: a stranger with many addresses costs no memory; the oldest waits are over anyway.
            if guesses.count > 10_000 { guesses = guesses.filter { ($0.value.notBefore ?? now) > now } }
            if guesses.count > 10_000 { guesses = [:] }
            var entry = guesses[place] ?? Guesses()
            entry.wrong += 1
            if entry.wrong >= Self.freeGuesses {
                entry.notBefore = now.advanced(bySeconds: min(Self.longestWait, 1 << min(entry.wrong - Self.freeGuesses, 20)))
            }
            guesses[place] = entry
        }
        return isRight
    }

    package func standingToken(number: Int, seed: String?) throws -> String {
        guard self.opened.authority.state.keyIsDerived else { return try RegistrationToken.random() }
        guard let seed else { throw Refusal(.missingParameter, "Missing seed parameter: this CA's token is derived from its seed") }
        guard try self.opened.gives(seed: seed) else { throw AuthorityError(.invalidSeed, "") }
        guard let index = UInt32(exactly: number) else {
            throw Refusal(.requestRefused, "Request refused: no further token can be derived")
        }
        return try SeedRoot(try Seed(text: seed, allowWeak: true)).registrationToken(index)
    }

    package func oneTimeToken() throws -> String { try RegistrationToken.random() }
}
