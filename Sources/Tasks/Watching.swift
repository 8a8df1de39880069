// What is asked again and again, or after something went wrong: metrics and the doctor's checks; and what ends when.

import Authority
import PKI
import UPKIProtocol

extension Task {
    static let metrics = Task("metrics", role: .local, on: [.admin], isRemote: true) { call in
        .answer(.string(try call.services.operations.metrics()))
    }

    /// Without a check it names them all; each is a request of its own, so that whoever asks can say how far it is.
    static let doctor = Task("doctor", role: .local, on: [.admin]) { call in
        guard let check = try call.parameters.optionalString("check") else {
            return .answer(.array(call.services.operations.doctorChecks.map { .string($0) }))
        }
        return .elsewhere(.publisher) { .answer(try call.services.operations.doctor(check: check)) }
    }
}

extension Call {
    /// What the status says of everything that ends: whatever is due, and the next of each kind.
    func expiries() throws -> JSON {
        let now = self.authority.clock.now
        // A CRL that cannot be read is a finding of the doctor; the status has more to say than that.
        let list = (try? self.services.publisher.publishedFacts()) ?? nil
        let all = Expiry.all(self.authority.state, authorityEnds: self.authority.issuer.notAfter, list: list, now: now)
        var kinds: Set<Expiry.Kind> = []
        var shown = 0
        let chosen = all.filter { expiry in
            let isNext = kinds.insert(expiry.kind).inserted
            if expiry.isDue, shown < Self.mostDue {
                shown += 1
                return true
            }
            return isNext
        }
        return .array(chosen.map(\.json))
    }

    /// An operator with more of them needs one line, not all.
    private static let mostDue = 100
}

extension Expiry {
    /// As the status carries it.
    public var json: JSON {
        [
            ("kind", .string(self.kind.rawValue)), ("name", .string(self.name)), ("at", .string(self.at.rfc3339)),
            ("due", .bool(self.isDue)),
        ].json
    }
}
