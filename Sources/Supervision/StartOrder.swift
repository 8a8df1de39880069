// The order in which services are started, and its reverse in which they are stopped.

enum StartOrder {
    /// The most services one supervisor takes; bounds its answers and its work per loop.
    static let most = 32

    /// The services so that each stands behind those it starts after; otherwise in the order given.
    /// - Throws: `.badSpecification` for an unknown or repeated name and for a circle.
    static func sorted(_ specs: [ServiceSpec]) throws(SupervisionError) -> [ServiceSpec] {
        guard specs.count <= most else { throw SupervisionError(.badSpecification, "more than \(most) services") }
        var names: Set<String> = []
        for spec in specs {
            try spec.check()
            guard names.insert(spec.name).inserted else {
                throw SupervisionError(.badSpecification, "two services are called \(spec.name)")
            }
        }
        for spec in specs {
            for name in spec.after where !names.contains(name) {
                throw SupervisionError(.badSpecification, "service \(spec.name) starts after \(name), which does not exist")
            }
        }
        var left = specs
        var placed: Set<String> = []
        var order: [ServiceSpec] = []
        while !left.isEmpty {
            guard let next = left.firstIndex(where: { placed.isSuperset(of: $0.after) }) else {
                throw SupervisionError(
                    .badSpecification, "these services start after each other: \(left.map(\.name).joined(separator: ", "))")
            }
            placed.insert(left[next].name)
            order.append(left.remove(at: next))
        }
        return order
    }
}
